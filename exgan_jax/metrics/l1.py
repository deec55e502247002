"""L1: the mean absolute error, over the whole picture and over the hole."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def l1_per_image(
  original: Float[Array, 'b h w c'], result: Float[Array, 'b h w c']
) -> Float[Array, ' b']:
  """Returns each picture's mean absolute error over pixels and channels.

  Args:
    original: pictures with values in [0, 1].
    result: the pictures to judge, in the same range.

  Returns:
    One error a picture, in [0, 1].
  """
  return _sum_per_image(jnp.abs(result - original)) / original[0].size


def has_hole(mask: Float[Array, 'b h w 1']) -> Bool[Array, ' b']:
  """Tells which pictures have a hole, that is a mask value above 0.5."""
  return (mask > 0.5).any(axis=(1, 2, 3))


def l1_hole_per_image(
  original: Float[Array, 'b h w c'],
  result: Float[Array, 'b h w c'],
  mask: Float[Array, 'b h w 1'],
) -> Float[Array, ' b']:
  """Returns each picture's mean absolute error over the pixels of its hole.

  Their mean over a data set weighs every picture the same, however large its
  hole is: it is not the mean over all hole pixels.

  Args:
    original: pictures with values in [0, 1].
    result: the pictures to judge, in the same range.
    mask: 1 in the hole, 0 elsewhere; pixels above 0.5 count as hole.

  Returns:
    One error a picture, in [0, 1]; 0 for a picture without a hole, which
    means nothing: `has_hole` tells which ones to leave out.
  """
  hole = mask > 0.5
  error = jnp.abs(result - original)
  total = _sum_per_image(jnp.where(hole, error, jnp.zeros_like(error)))
  pixels = hole.sum(axis=(1, 2, 3), dtype=jnp.int32)
  return total / (jnp.maximum(pixels, 1) * original.shape[3]).astype(
    total.dtype
  )


def _sum_per_image(x: Float[Array, 'b h w c']) -> Float[Array, ' b']:
  return x.sum(axis=(1, 2, 3))
