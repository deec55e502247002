"""Losses: pure functions of float32 arrays, each a mean over the batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def discriminator_loss(
  real: Float[Array, ' b'], fake: Float[Array, ' b']
) -> Float[Array, '']:
  """Cross entropy of the logits: real pictures to one, painted ones to zero.

  Goodfellow et al. 2014, "Generative Adversarial Nets", equation 1.
  """
  return jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))


def generator_loss(fake: Float[Array, ' b']) -> Float[Array, '']:
  """The non-saturating form of the generator's side of the same game."""
  return jnp.mean(jax.nn.softplus(-fake))


def reconstruction_loss(
  image: Float[Array, 'b h w 3'],
  painted: Float[Array, 'b h w 3'],
  mask: Float[Array, 'b h w 1'],
) -> Float[Array, '']:
  """Mean absolute error over the pixels of the holes.

  The composited output is exact outside the hole, so this is the paper's
  L1 term divided by the hole's share of the picture: its weight then means
  the same for large and small holes.

  Args:
    image: what the hole hid, of any range.
    painted: what was painted.
    mask: 1 in the hole, 0 outside.

  Returns:
    The mean over the pixels and channels of all holes of the batch, 0 where
    no picture has a hole.
  """
  hole = jnp.sum(mask) * image.shape[-1]
  return jnp.sum(jnp.abs(image - painted) * mask) / jnp.maximum(hole, 1.0)


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
