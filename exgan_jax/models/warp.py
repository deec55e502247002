"""Similarities between eye corners, and sampling pictures, on the device.

Coordinates are pixel indices (x to the right, y down, first pixel at 0). Eye
corners are in the order of MediaPipe's points 33, 133, 362, 263: outer and
inner corner of the left eye, inner and outer corner of the right one, as the
viewer sees them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Squared, in pixels: points nearer to each other than this give no angle and
# no scale.
_NEAREST = 1.0
# Where the corners of an eye lie from its centre, per distance of the eyes:
# means over open-eyed portraits, used where the corners are not known.
_OUTER, _INNER = 0.22, 0.20


def corners_of_eyes(eyes: Float[Array, 'b 2 2']) -> Float[Array, 'b 4 2']:
  """Guesses the eye corners from the eye centres."""
  left, right = eyes[:, 0], eyes[:, 1]
  across = right - left
  return jnp.stack(
    [
      left - _OUTER * across, left + _INNER * across,
      right - _INNER * across, right + _OUTER * across,
    ],
    axis=1,
  )  # fmt: skip


def known_corners(corners: Float[Array, 'b 4 2']) -> Float[Array, 'b 1 1']:
  """1 where all corners of a picture are known (not NaN), else 0."""
  known = jnp.all(jnp.isfinite(corners), axis=(1, 2), keepdims=True)
  return known.astype(jnp.float32)


def similarity(
  source: Float[Array, 'b n 2'], target: Float[Array, 'b n 2']
) -> Float[Array, 'b 2 3']:
  """Least-squares similarity that takes points onto others.

  Args:
    source: points as (x, y).
    target: where they shall lie.

  Returns:
    Matrices [[a, -b, tx], [b, a, ty]]. Where either set of points has no
    extent, only their means are matched.
  """
  source_mean = jnp.mean(source, axis=1, keepdims=True)
  target_mean = jnp.mean(target, axis=1, keepdims=True)
  p, q = source - source_mean, target - target_mean
  extent = jnp.sum(p**2, axis=(1, 2))
  valid = (extent > _NEAREST) & (jnp.sum(q**2, axis=(1, 2)) > _NEAREST)
  safe = jnp.where(valid, extent, 1.0)
  a = jnp.where(valid, jnp.sum(p * q, axis=(1, 2)) / safe, 1.0)
  cross = jnp.sum(p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0], axis=1)
  b = jnp.where(valid, cross / safe, 0.0)
  linear = jnp.stack([jnp.stack([a, -b], -1), jnp.stack([b, a], -1)], axis=1)
  moved = jnp.einsum('bij,bj->bi', linear, source_mean[:, 0])
  shift = target_mean[:, 0] - moved
  return jnp.concatenate([linear, shift[..., None]], axis=2)


def apply(
  matrix: Float[Array, 'b 2 3'], points: Float[Array, 'b ... 2']
) -> Float[Array, 'b ... 2']:
  """Moves points (x, y) by a matrix for each picture."""
  flat = points.reshape(points.shape[0], -1, 2)
  moved = jnp.einsum('bij,bnj->bni', matrix[..., :2], flat)
  return (moved + matrix[:, None, :, 2]).reshape(points.shape)


def grid(height: int, width: int) -> Float[Array, 'h w 2']:
  """The position (x, y) of every pixel."""
  x = jnp.arange(width, dtype=jnp.float32)
  y = jnp.arange(height, dtype=jnp.float32)
  return jnp.stack(jnp.meshgrid(x, y), axis=-1)


def sample(
  image: Float[Array, 'b h w c'], positions: Float[Array, 'b i j 2']
) -> Float[Array, 'b i j c']:
  """Samples pictures bilinearly; the nearest edge pixel outside their frame.

  Args:
    image: pictures of any range.
    positions: where to sample, as (x, y) in pixels.
  """
  b, height, width, c = image.shape
  limit = jnp.array([width - 1, height - 1], jnp.float32)
  inside = jnp.clip(positions, 0.0, limit[None, None, None])
  low = jnp.clip(jnp.floor(inside), 0.0, limit[None, None, None] - 1.0)
  part = inside - low
  x, y = low[..., 0].astype(jnp.int32), low[..., 1].astype(jnp.int32)
  flat = image.reshape(b, height * width, c)

  def pixel(dx: int, dy: int) -> jax.Array:
    index = ((y + dy) * width + x + dx).reshape(b, -1, 1)
    found = jnp.take_along_axis(flat, index, axis=1)
    return found.reshape(*positions.shape[:-1], c)

  across, down = part[..., :1], part[..., 1:]
  top = pixel(0, 0) * (1.0 - across) + pixel(1, 0) * across
  bottom = pixel(0, 1) * (1.0 - across) + pixel(1, 1) * across
  return top * (1.0 - down) + bottom * down


def inside(
  positions: Float[Array, 'b i j 2'], height: int, width: int
) -> Float[Array, 'b i j 1']:
  """1 where a position lies in a picture's frame, else 0."""
  x, y = positions[..., 0], positions[..., 1]
  there = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
  return there[..., None].astype(jnp.float32)
