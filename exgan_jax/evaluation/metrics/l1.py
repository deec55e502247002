"""L1: the mean absolute error over the whole image and over the hole."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8


def l1_per_image(
  original: UInt8[Array, 'b h w c'], result: UInt8[Array, 'b h w c']
) -> Float[Array, ' b']:
  """Returns the mean absolute error of each image, for values in [0, 1].

  Sums are in integers, so that they are the same on every device.
  """
  return _mean_of(_difference(original, result), original[0].size)


def l1_hole_per_image(
  original: UInt8[Array, 'b h w c'],
  result: UInt8[Array, 'b h w c'],
  mask: Bool[Array, 'b h w 1'],
) -> Float[Array, ' b']:
  """Returns the mean absolute error in the hole of each image.

  The mean over a data set weights all images equally, whatever the size of
  their holes.

  Args:
    original: original images.
    result: images to score.
    mask: hole masks, true in the hole.

  Returns:
    One error per image, for values in [0, 1]; a meaningless 0 for an image
    without a hole.
  """
  error = jnp.where(mask, _difference(original, result), 0)
  pixels = mask.sum(axis=(1, 2, 3), dtype=jnp.uint32)
  return _mean_of(error, jnp.maximum(pixels, 1) * original.shape[3])


def _difference(x: Array, y: Array) -> Array:
  return jnp.where(x > y, x - y, y - x).astype(jnp.uint32)


def _mean_of(error: Array, number: Array | int) -> Float[Array, ' b']:
  # The sum of a row fits into 32 bits, but not that of a large photo.
  lines = error.sum(axis=(2, 3))
  low, high = (lines & 0xFFFF).sum(axis=1), (lines >> 16).sum(axis=1)
  total = high.astype(jnp.float32) * 2.0**16 + low.astype(jnp.float32)
  return total / (jnp.asarray(number).astype(jnp.float32) * 255.0)
