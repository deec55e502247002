"""Moving one picture's eyes onto another's, on the device."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Squared, in pixels: eyes nearer than this tell no angle and no scale.
_NEAREST = 1.0


def onto_eyes(
  image: Float[Array, 'b h w c'],
  eyes: Float[Array, 'b 2 2'],
  target_eyes: Float[Array, 'b 2 2'],
) -> Float[Array, 'b h w c']:
  """Warps pictures by the similarity that takes their eyes onto others.

  Args:
    image: pictures of any range.
    eyes: centres of their eyes (left, right), as (x, y) in pixels.
    target_eyes: where those shall lie.

  Returns:
    The pictures, sampled bilinearly; zero where they leave their frame. Where
    either pair of eyes is less than a pixel apart, only the first eye is moved.
  """
  _, height, width, _ = image.shape
  x = jnp.arange(width, dtype=jnp.float32)[None, None, :]
  y = jnp.arange(height, dtype=jnp.float32)[None, :, None]
  # From a target's pixel to where in the picture its colour comes from.
  across, goal = eyes[:, 1] - eyes[:, 0], target_eyes[:, 1] - target_eyes[:, 0]
  square = jnp.sum(goal**2, axis=-1)
  told = (square > _NEAREST) & (jnp.sum(across**2, axis=-1) > _NEAREST)
  square = jnp.where(told, square, 1.0)
  turn = goal[:, 0] * across[:, 1] - goal[:, 1] * across[:, 0]
  sine = jnp.where(told, turn / square, 0.0)[:, None, None]
  cosine = jnp.where(told, jnp.sum(goal * across, axis=-1) / square, 1.0)
  cosine = cosine[:, None, None]
  dx = x - target_eyes[:, 0, 0, None, None]
  dy = y - target_eyes[:, 0, 1, None, None]
  columns = eyes[:, 0, 0, None, None] + cosine * dx - sine * dy
  rows = eyes[:, 0, 1, None, None] + sine * dx + cosine * dy

  def sample(channel, rows, columns):
    return jax.scipy.ndimage.map_coordinates(channel, [rows, columns], order=1)

  channels = jax.vmap(sample, in_axes=(-1, None, None), out_axes=-1)
  return jax.vmap(channels)(image, rows, columns)
