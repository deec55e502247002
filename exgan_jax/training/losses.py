"""Losses of float32 arrays, averaged over the batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from exgan_jax.config import Adversarial


def discriminator_loss(
  real: Float[Array, ' b'], fake: Float[Array, ' b'], kind: Adversarial
) -> Float[Array, '']:
  """Returns the adversarial loss of the discriminator.

  It is `non_saturating` (Goodfellow et al. 2014, "Generative Adversarial
  Nets"), `hinge` (Lim and Ye 2017, "Geometric GAN") or `least_squares` (Mao et
  al. 2017, "Least Squares Generative Adversarial Networks").
  """
  match kind:
    case 'non_saturating':
      terms = jax.nn.softplus(-real), jax.nn.softplus(fake)
    case 'hinge':
      terms = jax.nn.relu(1.0 - real), jax.nn.relu(1.0 + fake)
    case 'least_squares':
      terms = 0.5 * (real - 1.0) ** 2, 0.5 * fake**2
  return jnp.mean(terms[0]) + jnp.mean(terms[1])


def generator_loss(
  fake: Float[Array, ' b'], kind: Adversarial
) -> Float[Array, '']:
  """Returns the adversarial loss of the generator, in non-saturating form."""
  match kind:
    case 'non_saturating':
      return jnp.mean(jax.nn.softplus(-fake))
    case 'hinge':
      return -jnp.mean(fake)
    case 'least_squares':
      return 0.5 * jnp.mean((fake - 1.0) ** 2)


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
