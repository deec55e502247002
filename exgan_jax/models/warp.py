"""Similarity transforms between eye corners, and sampling of pictures.

Coordinates are pixel indices (x to the right, y down, first pixel at 0). Eye
corners are in the order of MediaPipe's points 33, 133, 362, 263: outer and
inner corner of the left eye, inner and outer corner of the right one, in the
picture.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Sum of squared distances to the mean, in pixels, below which points define no
# rotation and scale.
_NEAREST = 1.0
# Distances of the corners from the eye center relative to the distance of the
# eyes; means over portraits with open eyes.
_OUTER, _INNER = 0.22, 0.20


def corners_of_eyes(eyes: Float[Array, 'b 2 2']) -> Float[Array, 'b 4 2']:
  """Estimates the eye corners from the eye centers."""
  left, right = eyes[:, 0], eyes[:, 1]
  across = right - left
  outer, inner = _OUTER * across, _INNER * across
  corners = [left - outer, left + inner, right - inner, right + outer]
  return jnp.stack(corners, axis=1)


def known_corners(corners: Float[Array, 'b 4 2']) -> Float[Array, 'b 1 1']:
  """Returns 1 for pictures whose corners are all known (not NaN), else 0."""
  known = jnp.all(jnp.isfinite(corners), axis=(1, 2), keepdims=True)
  return known.astype(jnp.float32)


def similarity(
  source: Float[Array, 'b n 2'], target: Float[Array, 'b n 2']
) -> Float[Array, 'b 2 3']:
  """Returns the least-squares similarity transforms from source to target.

  These are matrices [[a, -b, tx], [b, a, ty]]. If all points of either set
  coincide, only the means are matched.
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
  """Transforms points (x, y) by one matrix per picture."""
  flat = points.reshape(points.shape[0], -1, 2)
  moved = jnp.einsum('bij,bnj->bni', matrix[..., :2], flat)
  return (moved + matrix[:, None, :, 2]).reshape(points.shape)


def grid(height: int, width: int) -> Float[Array, 'h w 2']:
  """Returns the position (x, y) of every pixel."""
  x = jnp.arange(width, dtype=jnp.float32)
  y = jnp.arange(height, dtype=jnp.float32)
  return jnp.stack(jnp.meshgrid(x, y), axis=-1)


def sample(
  image: Float[Array, 'b h w c'], positions: Float[Array, 'b i j 2']
) -> Float[Array, 'b i j c']:
  """Samples pictures bilinearly at (x, y); edge pixels are repeated."""
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
  """Returns 1 for positions inside the picture, else 0."""
  x, y = positions[..., 0], positions[..., 1]
  there = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
  return there[..., None].astype(jnp.float32)
