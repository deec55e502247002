"""Convolutions that halve or double the resolution, without waste.

They are to be given to `flax.nnx.Conv`, and differ from what they stand for by
rounding only.
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
  """`jax.lax.conv_general_dilated` as `flax.nnx.Conv` calls it.

  On CPUs XLA is slow at two kinds, which are computed in another form there:
  those with a stride, as their gradients are convolutions with holes between
  the pixels, and those to a few channels, as these are fewer than a register
  holds.
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
  """Convolves with a stride of two and padding `SAME`, for even h and w.

  With every two by two pixels folded into the channels there is no stride, and
  all derivatives, those of the gradient penalty, too, are convolutions without
  holes.

  Args:
    x: the pictures.
    kernel: of at least two taps each way.
  """
  taps = kernel.shape[0]
  # What `SAME` puts before the first pixel. With zeros for the taps that are
  # missing the kernel begins and ends where blocks of two pixels do.
  before = (taps - 2) // 2
  front = before % 2
  blocks = -(-(front + taps) // 2)
  margin = (front, 2 * blocks - front - taps)
  whole = jnp.pad(kernel, (margin, margin, (0, 0), (0, 0)))
  first = (before + front) // 2
  return jax.lax.conv_general_dilated(
    _fold(x),
    jnp.moveaxis(_fold(jnp.moveaxis(whole, 3, 0)), 0, 3),
    (1, 1),
    ((first, blocks - 1 - first),) * 2,
    dimension_numbers=DIMENSIONS,
  )


def convolve_to_few(
  x: Float[Array, 'n h w c'], kernel: Float[Array, 'k k c o']
) -> Float[Array, 'n h w o']:
  """Convolves with padding `SAME` and odd k, by one product of matrices.

  That of every pixel with all taps; each pixel then adds up what its neighbours
  have for it.
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
  """Repeats every pixel twice each way, and convolves that; padding `SAME`.

  TPUs repeat the pixels while they read them; others would write them down.
  """
  del strides, padding, options  # Always 1, `SAME`, and none.
  return jax.lax.platform_dependent(
    x, kernel, tpu=_convolve_repeated, default=convolve_pairs
  )


def _convolve_repeated(x: jax.Array, kernel: jax.Array) -> jax.Array:
  repeated = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
  return jax.lax.conv_general_dilated(
    repeated, kernel, (1, 1), 'SAME', dimension_numbers=DIMENSIONS
  )


def convolve_pairs(
  x: Float[Array, 'n h w c'], kernel: Float[Array, '3 3 c o']
) -> Float[Array, 'n 2*h 2*w o']:
  """The same without repeating them.

  Of three pixels in a row two are always equal: their taps are added, which
  leaves four of nine.
  """
  kernels = _of_pairs(_of_pairs(kernel, 0), 2)  # [i, p, j, q, c, o]
  kernels = kernels.transpose(1, 3, 4, 0, 2, 5)
  n, h, w, _ = x.shape
  # Padded here: were it the convolution's, XLA would give its gradient's
  # operands other parts, and on CPUs those take ten times as long.
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


def _of_pairs(kernel: jax.Array, axis: int) -> jax.Array:
  """Taps over three pixels, as each of two equal ones has them over a pair.

  Returns:
    With the axis of the taps replaced by two: which pixel of the two, and which
    pixel of the pair that it sees.
  """
  first, middle, last = jnp.moveaxis(kernel, axis, 0)
  pairs = [[first, middle + last], [first + middle, last]]
  return jnp.stack([jnp.stack(pair, axis) for pair in pairs], axis)


def _fold(x: Float[Array, 'n h w c']) -> Float[Array, 'n h/2 w/2 4*c']:
  n, h, w, c = x.shape
  blocks = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
  return blocks.reshape(n, h // 2, w // 2, 4 * c)
