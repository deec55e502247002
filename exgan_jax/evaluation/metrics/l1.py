"""L1: the mean absolute error, over the whole picture and over the hole."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8


def l1_per_image(
  original: UInt8[Array, 'b h w c'], result: UInt8[Array, 'b h w c']
) -> Float[Array, ' b']:
  """Returns each picture's mean absolute error over pixels and channels.

  Summed in integers, so that it is the same on every device.

  Args:
    original: pictures as they are stored.
    result: the pictures to judge.

  Returns:
    One error a picture, for images in [0, 1].
  """
  return _mean_of(_difference(original, result), original[0].size)


def has_hole(mask: Bool[Array, 'b h w 1']) -> Bool[Array, ' b']:
  """Tells which pictures have a hole."""
  return mask.any(axis=(1, 2, 3))


def l1_hole_per_image(
  original: UInt8[Array, 'b h w c'],
  result: UInt8[Array, 'b h w c'],
  mask: Bool[Array, 'b h w 1'],
) -> Float[Array, ' b']:
  """Returns each picture's mean absolute error over the pixels of its hole.

  Their mean over a data set weighs every picture the same, however large its
  hole is: it is not the mean over all hole pixels.

  Args:
    original: pictures as they are stored.
    result: the pictures to judge.
    mask: true in the hole.

  Returns:
    One error a picture, for images in [0, 1]; 0 for a picture without a hole,
    which means nothing: `has_hole` tells which ones to leave out.
  """
  error = jnp.where(mask, _difference(original, result), 0)
  pixels = mask.sum(axis=(1, 2, 3), dtype=jnp.uint32)
  return _mean_of(error, jnp.maximum(pixels, 1) * original.shape[3])


def _difference(x: Array, y: Array) -> Array:
  return jnp.where(x > y, x - y, y - x).astype(jnp.uint32)


def _mean_of(error: Array, number: Array | int) -> Float[Array, ' b']:
  # 32 bits hold the sum of a line of pixels, but not that of a photograph.
  lines = error.sum(axis=(2, 3))
  low, high = (lines & 0xFFFF).sum(axis=1), (lines >> 16).sum(axis=1)
  total = high.astype(jnp.float32) * 2.0**16 + low.astype(jnp.float32)
  return total / (jnp.asarray(number).astype(jnp.float32) * 255.0)
