"""Losses: pure functions of float32 arrays, each a mean over the batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from exgan_jax.config import Adversarial


def discriminator_loss(
  real: Float[Array, ' b'], fake: Float[Array, ' b'], kind: Adversarial
) -> Float[Array, '']:
  """What the discriminator lowers.

  Args:
    real: logits of real pictures.
    fake: logits of painted ones.
    kind: `non_saturating`, the cross entropy of Goodfellow et al. 2014,
      "Generative Adversarial Nets"; `hinge`, of Lim and Ye 2017, "Geometric
      GAN"; or `least_squares`, of Mao et al. 2017, "Least Squares Generative
      Adversarial Networks", with targets of 1 and 0.
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
  """The generator's side of the same game, with gradients that never vanish."""
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
  """Weighted mean absolute error over the pixels of the holes.

  The composited output is exact outside the hole, so with equal weights this
  is the paper's L1 term divided by the hole's share of the picture: it then
  means the same for large and small holes.

  Args:
    image: what the hole hid, of any range.
    painted: what was painted.
    weight: positive in the hole, 0 outside.
    scales: more than one add the error of the means of 2 x 2 pixels, of 4 x 4
      and so on, where what is only out of place, as a gaze that nobody can
      know, cancels out and a wrong colour stays.

  Returns:
    The mean over the pixels and channels of all holes of the batch, and over
    the scales; 0 where no picture has a hole.
  """
  total = jnp.sum(weight) * image.shape[-1]
  # Weights may be small, but not as small as this.
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
  """Mean squared error over all pixels, of the eyes' auto-encoder."""
  return jnp.mean((drawn - image) ** 2)


def gradient_penalty(
  slopes: Float[Array, 'b h w c'],
) -> Float[Array, '']:
  """Half the squared norm of the logit's gradient at real pictures.

  R1 of Mescheder et al. 2018, "Which training methods for GANs do actually
  converge?", without its weight.

  Args:
    slopes: gradient of each real picture's logit by the picture.
  """
  return 0.5 * jnp.mean(jnp.sum(slopes**2, axis=(1, 2, 3)))


def perceptual_loss(
  painted: Float[Array, 'b n'], exemplar: Float[Array, 'b n']
) -> Float[Array, '']:
  """Mean over the batch of the Euclidean distance between codes."""
  # A root has no slope at 0.
  return jnp.mean(jnp.sqrt(jnp.sum((painted - exemplar) ** 2, axis=-1) + 1e-12))
