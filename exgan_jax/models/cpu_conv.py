"""Faster forms of strided and upsampling convolutions.

They are passed to `flax.nnx.Conv` and differ from the plain forms only by
rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')
FEW = 4


def convolve(
  x: Float[Array, 'n h w c'],
  kernel: Float[Array, 'k k c o'],
  strides: Sequence[int],
  padding: Any,
  **options: Any,
) -> Float[Array, 'n i j o']:
  """Calls `jax.lax.conv_general_dilated`, or a faster form on CPUs.

  XLA is slow on CPUs for strided convolutions, whose gradients are dilated, and
  for few output channels, which do not fill a vector register.
  """

  def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)

  strides, (taps, _, _, channels) = tuple(strides), kernel.shape
  on_cpu = plain
  if padding == 'SAME' and tuple(options['rhs_dilation']) == (1, 1):
    if strides == (2, 2) and not (x.shape[1] % 2 or x.shape[2] % 2):
      on_cpu = convolve_folded
    elif strides == (1, 1) and taps % 2 and channels <= FEW:
      on_cpu = convolve_to_few
  if on_cpu is plain:
    return plain(x, kernel)
  return jax.lax.platform_dependent(x, kernel, cpu=on_cpu, default=plain)


def convolve_folded(
  x: Float[Array, 'n h w c'], kernel: Float[Array, 'k k c o']
) -> Float[Array, 'n h/2 w/2 o']:
  """Convolves with stride 2 and padding `SAME`, for even h and w and k > 1.

  Folding 2 x 2 pixels into channels removes the stride, so no derivative, not
  even that of the gradient penalty, is a dilated convolution.
  """
  taps = kernel.shape[0]
  # Padding of `SAME` before the first pixel. Zeros around the kernel align it
  # with blocks of two pixels.
  before = (taps - 2) // 2
  front = before % 2
  blocks = -(-(front + taps) // 2)
  margin = (front, 2 * blocks - front - taps)
  padded = jnp.pad(kernel, (margin, margin, (0, 0), (0, 0)))
  first = (before + front) // 2
  return jax.lax.conv_general_dilated(
    fold(x, 2),
    jnp.moveaxis(fold(jnp.moveaxis(padded, 3, 0), 2), 0, 3),
    (1, 1),
    ((first, blocks - 1 - first),) * 2,
    dimension_numbers=DIMENSIONS,
  )


def convolve_to_few(
  x: Float[Array, 'n h w c'], kernel: Float[Array, 'k k c o']
) -> Float[Array, 'n h w o']:
  """Convolves with padding `SAME` and odd k by one matrix product.

  The product of every pixel with every tap; then each output pixel sums the
  products of its neighbors.
  """
  n, h, w, c = x.shape
  taps, margin = kernel.shape[0], kernel.shape[0] // 2
  each = x.reshape(-1, c) @ jnp.moveaxis(kernel, 2, 0).reshape(c, -1)
  each = jnp.pad(
    each.reshape(n, h, w, taps, taps, -1),
    ((0, 0), (margin, margin), (margin, margin), (0, 0), (0, 0), (0, 0)),
  )
  parts = (
    each[:, i : i + h, j : j + w, i, j]
    for i in range(taps)
    for j in range(taps)
  )
  return sum(parts, start=jnp.zeros((), x.dtype))


def convolve_doubled(
  x: Float[Array, 'n h w c'],
  kernel: Float[Array, '3 3 c o'],
  strides: Sequence[int],
  padding: Any,
  **options: Any,
) -> Float[Array, 'n 2*h 2*w o']:
  """Doubles height and width by repeating pixels, then convolves (`SAME`).

  TPUs repeat pixels while reading them; other devices would store the repeated
  pixels.
  """
  del strides, padding, options  # Always 1, `SAME`, and none.

  def repeated(x: jax.Array, kernel: jax.Array) -> jax.Array:
    x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
    return jax.lax.conv_general_dilated(
      x, kernel, (1, 1), 'SAME', dimension_numbers=DIMENSIONS
    )

  return jax.lax.platform_dependent(
    x, kernel, tpu=repeated, default=convolve_pairs
  )


def convolve_pairs(
  x: Float[Array, 'n h w c'], kernel: Float[Array, '3 3 c o']
) -> Float[Array, 'n 2*h 2*w o']:
  """Computes `convolve_doubled` without repeating pixels.

  Of three repeated pixels in a row two are equal; adding their taps leaves 2 x
  2 taps per output pixel.
  """
  kernels = _pair_taps(_pair_taps(kernel, 0), 2)  # [i, p, j, q, c, o]
  kernels = kernels.transpose(1, 3, 4, 0, 2, 5)
  n, h, w, _ = x.shape
  # Padded here: with padding in the convolution XLA would choose another
  # gradient, which takes ten times as long on CPUs.
  found = jax.lax.conv_general_dilated(
    jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))),
    kernels.reshape(2, 2, x.shape[3], -1),
    (1, 1),
    'VALID',
    dimension_numbers=DIMENSIONS,
  ).reshape(n, h + 1, w + 1, 2, 2, -1)
  rows = jnp.stack([found[:, i : i + h, :, i] for i in (0, 1)], axis=2)
  pixels = jnp.stack([rows[:, :, :, j : j + w, j] for j in (0, 1)], axis=4)
  return pixels.reshape(n, 2 * h, 2 * w, -1)


def _pair_taps(kernel: jax.Array, axis: int) -> jax.Array:
  """Adds the taps of equal pixels along one axis.

  Returns:
    The kernel with the axis replaced by two: which of two equal output pixels,
    and which of the two input pixels that it sees.
  """
  first, middle, last = jnp.moveaxis(kernel, axis, 0)
  pairs = [[first, middle + last], [first + middle, last]]
  return jnp.stack([jnp.stack(pair, axis) for pair in pairs], axis)


def fold(x: jax.Array, size: int) -> jax.Array:
  """Folds blocks of pixels into channels: [n, h/size, w/size, size**2 * c]."""
  n, h, w, c = x.shape
  blocks = x.reshape(n, h // size, size, w // size, size, c)
  blocks = blocks.transpose(0, 1, 3, 2, 4, 5)
  return blocks.reshape(n, h // size, w // size, size * size * c)
