"""Losses of float32 arrays, averaged over the batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def adversarial_loss(logits: Float[Array, 'b ...']) -> Float[Array, '']:
  """Returns the cross entropy of logits whose pictures should be called real.

  The generator lowers it for painted pictures, the discriminator for real ones
  and, of negated logits, for painted ones: Goodfellow et al. 2014, "Generative
  Adversarial Nets", in the non-saturating form.
  """
  return jnp.mean(jax.nn.softplus(-logits))


def reconstruction_loss(
  image: Float[Array, 'b h w 3'],
  painted: Float[Array, 'b h w 3'],
  weight: Float[Array, 'b h w 1'],
  scales: int = 1,
) -> Float[Array, '']:
  """Returns the weighted mean absolute error over the holes.

  With equal weights it is the paper's L1 term divided by the hole's share of
  the picture, so it does not depend on the size of the holes.

  Weights are 0 outside the hole. Further scales add the errors of 2 x 2 means,
  4 x 4 means and so on, where misplaced detail, such as an unknown gaze,
  cancels out but a wrong color does not.

  Returns:
    The mean over all hole pixels of the batch, channels and scales; 0 without
    holes.
  """
  total = jnp.sum(weight) * image.shape[-1]
  error = (image - painted) * weight
  found = jnp.sum(jnp.abs(error))
  for _ in range(scales - 1):
    b, h, w, c = error.shape
    error = jnp.sum(error.reshape(b, h // 2, 2, w // 2, 2, c), axis=(2, 4))
    found += jnp.sum(jnp.abs(error))
  return found / (scales * jnp.maximum(total, 1e-6))


def squared_error(
  image: Float[Array, 'b ...'], drawn: Float[Array, 'b ...']
) -> Float[Array, '']:
  """Returns the mean squared error."""
  return jnp.mean((drawn - image) ** 2)


def gradient_penalty(slopes: Float[Array, 'b h w c']) -> Float[Array, '']:
  """Returns half the squared norm of gradients of logits at real pictures.

  R1 of Mescheder et al. 2018, "Which training methods for GANs do actually
  converge?", without its weight.
  """
  return 0.5 * jnp.mean(jnp.sum(slopes**2, axis=(1, 2, 3)))


def perceptual_loss(
  painted: Float[Array, 'b n'], exemplar: Float[Array, 'b n']
) -> Float[Array, '']:
  """Returns the mean Euclidean distance between codes."""
  # The epsilon keeps the gradient of the root finite at 0.
  return jnp.mean(jnp.sqrt(jnp.sum((painted - exemplar) ** 2, axis=-1) + 1e-12))
