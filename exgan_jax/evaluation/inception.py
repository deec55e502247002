"""Inception-V3 as TensorFlow published it on 2015-12-05, for FID.

Szegedy et al. 2015, "Rethinking the Inception Architecture for Computer
Vision". FID is defined by this very graph (Heusel et al. 2017), not by later
ones of the same name: its average pools count only what is inside the picture,
its last block's pool takes the maximum, its normalisation has an epsilon of
1e-3, it has 1008 classes, and pictures reach it by TensorFlow 1's bilinear
resize. Layers have the names that they have in the published weights.

Pools, the resize and convolutions of 1 x 1 are written out because XLA's own
take longer on a CPU.
"""

from __future__ import annotations

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

SIDE = 299
FEATURES = 2048
CLASSES = 1008
_EPSILON = 1e-3


class Conv(nnx.Module):
  """A convolution, batch normalisation by stored statistics, ReLU."""

  def __init__(
    self,
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, int] = 1,
    *,
    strides: int = 1,
    padding: str = 'SAME',
    rngs: nnx.Rngs,
  ):
    self._is_unpadded = padding == 'VALID'
    self.conv = nnx.Conv(
      in_channels,
      out_channels,
      (kernel, kernel) if isinstance(kernel, int) else kernel,
      strides=strides,
      # With any padding XLA takes half the time on a CPU; what that adds to
      # the result is cut off.
      padding=((0, 1), (0, 1)) if self._is_unpadded else padding,
      use_bias=False,
      precision=jax.lax.Precision.HIGHEST,
      rngs=rngs,
    )
    self.bn = nnx.BatchNorm(
      out_channels, use_running_average=True, epsilon=_EPSILON, rngs=rngs
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    return nnx.relu(self.bn(self._convolved(x)))

  def _convolved(self, x: jax.Array) -> jax.Array:
    kernel = self.conv.kernel[...]
    if kernel.shape[:2] == (1, 1):
      return jnp.matmul(x, kernel[0, 0], precision=jax.lax.Precision.HIGHEST)
    y = self.conv(x)
    if not self._is_unpadded:
      return y
    height, width = (
      (side - size) // self.conv.strides + 1
      for side, size in zip(x.shape[1:3], kernel.shape[:2], strict=True)
    )
    return y[:, :height, :width]


class Block(nnx.Module):
  """Branches side by side, their channels joined in order.

  Args:
    in_channels: of the input.
    branches: for each branch its convolutions as (name, channels, kernel,
      strides). A list instead of a tuple at its end splits the branch in two.
    pool: channels of the convolution after the pooling branch; 0 for a
      pooling of strides 2 without one.
    pooling: of that branch, `average` or `max`.
    rngs: for parameters that are not replaced.
  """

  def __init__(
    self, in_channels, branches, *, pool, pooling='average', rngs: nnx.Rngs
  ):
    self._pooling = pooling if pool else 'halving'
    self._branches = tuple(
      tuple(
        tuple(n for n, *_ in layer) if isinstance(layer, list) else layer[0]
        for layer in branch
      )
      for branch in branches
    )
    for branch in branches:
      channels = in_channels
      for layer in branch:
        for name, out_channels, kernel, strides in (
          layer if isinstance(layer, list) else [layer]
        ):
          conv = Conv(
            channels,
            out_channels,
            kernel,
            strides=strides,
            padding='SAME' if strides == 1 else 'VALID',
            rngs=rngs,
          )
          setattr(self, name, conv)
        channels = out_channels
    if pool:
      self.branch_pool = Conv(in_channels, pool, rngs=rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    found = []
    for branch in self._branches:
      y = x
      for name in branch:
        if isinstance(name, tuple):
          y = jnp.concatenate([getattr(self, n)(y) for n in name], axis=-1)
        else:
          y = getattr(self, name)(y)
      found.append(y)
    match self._pooling:
      case 'average':
        found.append(self.branch_pool(_average_pool(x)))
      case 'max':
        found.append(self.branch_pool(_max_pool(x, 1, 'SAME')))
      case 'halving':
        found.append(_max_pool(x, 2, 'VALID'))
    return jnp.concatenate(found, axis=-1)


def _mixed_5(in_channels, pool, rngs):
  return Block(
    in_channels,
    (
      (('branch1x1', 64, 1, 1),),
      (('branch5x5_1', 48, 1, 1), ('branch5x5_2', 64, 5, 1)),
      (
        ('branch3x3dbl_1', 64, 1, 1),
        ('branch3x3dbl_2', 96, 3, 1),
        ('branch3x3dbl_3', 96, 3, 1),
      ),
    ),
    pool=pool,
    rngs=rngs,
  )


def _mixed_6a(rngs):
  return Block(
    288,
    (
      (('branch3x3', 384, 3, 2),),
      (
        ('branch3x3dbl_1', 64, 1, 1),
        ('branch3x3dbl_2', 96, 3, 1),
        ('branch3x3dbl_3', 96, 3, 2),
      ),
    ),
    pool=0,
    rngs=rngs,
  )


def _mixed_6(width, rngs):
  row, column = (1, 7), (7, 1)
  return Block(
    768,
    (
      (('branch1x1', 192, 1, 1),),
      (
        ('branch7x7_1', width, 1, 1),
        ('branch7x7_2', width, row, 1),
        ('branch7x7_3', 192, column, 1),
      ),
      (
        ('branch7x7dbl_1', width, 1, 1),
        ('branch7x7dbl_2', width, column, 1),
        ('branch7x7dbl_3', width, row, 1),
        ('branch7x7dbl_4', width, column, 1),
        ('branch7x7dbl_5', 192, row, 1),
      ),
    ),
    pool=192,
    rngs=rngs,
  )


def _mixed_7a(rngs):
  return Block(
    768,
    (
      (('branch3x3_1', 192, 1, 1), ('branch3x3_2', 320, 3, 2)),
      (
        ('branch7x7x3_1', 192, 1, 1),
        ('branch7x7x3_2', 192, (1, 7), 1),
        ('branch7x7x3_3', 192, (7, 1), 1),
        ('branch7x7x3_4', 192, 3, 2),
      ),
    ),
    pool=0,
    rngs=rngs,
  )


def _mixed_7(in_channels, pooling, rngs):
  return Block(
    in_channels,
    (
      (('branch1x1', 320, 1, 1),),
      (
        ('branch3x3_1', 384, 1, 1),
        [('branch3x3_2a', 384, (1, 3), 1), ('branch3x3_2b', 384, (3, 1), 1)],
      ),
      (
        ('branch3x3dbl_1', 448, 1, 1),
        ('branch3x3dbl_2', 384, 3, 1),
        [
          ('branch3x3dbl_3a', 384, (1, 3), 1),
          ('branch3x3dbl_3b', 384, (3, 1), 1),
        ],
      ),
    ),
    pool=192,
    pooling=pooling,
    rngs=rngs,
  )


class Inception(nnx.Module):
  """Called with uint8 [b, h, w, 3] of any size.

  Returns:
    The features that FID compares, float32 [b, 2048], and the logits without
    the bias, float32 [b, 1008], from which the Inception Score is computed.
  """

  def __init__(self, rngs: nnx.Rngs):
    self.Conv2d_1a_3x3 = Conv(3, 32, 3, strides=2, padding='VALID', rngs=rngs)
    self.Conv2d_2a_3x3 = Conv(32, 32, 3, padding='VALID', rngs=rngs)
    self.Conv2d_2b_3x3 = Conv(32, 64, 3, rngs=rngs)
    self.Conv2d_3b_1x1 = Conv(64, 80, rngs=rngs)
    self.Conv2d_4a_3x3 = Conv(80, 192, 3, padding='VALID', rngs=rngs)
    self.Mixed_5b = _mixed_5(192, 32, rngs)
    self.Mixed_5c = _mixed_5(256, 64, rngs)
    self.Mixed_5d = _mixed_5(288, 64, rngs)
    self.Mixed_6a = _mixed_6a(rngs)
    self.Mixed_6b = _mixed_6(128, rngs)
    self.Mixed_6c = _mixed_6(160, rngs)
    self.Mixed_6d = _mixed_6(160, rngs)
    self.Mixed_6e = _mixed_6(192, rngs)
    self.Mixed_7a = _mixed_7a(rngs)
    self.Mixed_7b = _mixed_7(1280, 'average', rngs)
    self.Mixed_7c = _mixed_7(2048, 'max', rngs)
    self.fc = nnx.Linear(
      FEATURES, CLASSES, precision=jax.lax.Precision.HIGHEST, rngs=rngs
    )

  def __call__(
    self, images: UInt8[Array, 'b h w 3']
  ) -> tuple[Float[Array, 'b 2048'], Float[Array, 'b 1008']]:
    x = (resize(images.astype(jnp.float32)) - 128.0) / 128.0
    x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
    x = self.Conv2d_3b_1x1(_max_pool(x, 2, 'VALID'))
    x = _max_pool(self.Conv2d_4a_3x3(x), 2, 'VALID')
    for block in (
      *(self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a),
      *(self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e),
      *(self.Mixed_7a, self.Mixed_7b, self.Mixed_7c),
    ):
      x = block(x)
    features = jnp.mean(x, axis=(1, 2))
    kernel = self.fc.kernel[...]
    logits = jnp.matmul(features, kernel, precision=jax.lax.Precision.HIGHEST)
    return features, logits


def abstract() -> Inception:
  """Returns the network with shapes in the place of its parameters."""
  return nnx.eval_shape(lambda: Inception(nnx.Rngs(0)))


def resize(images: Float[Array, 'b h w 3']) -> Float[Array, 'b s s 3']:
  """TensorFlow 1's bilinear resize to 299 x 299 (`align_corners=False`).

  A pixel of the result is sampled at its index times the scale, without the
  half-pixel shift that makes `jax.image.resize` another function, and nothing
  is averaged when pictures shrink.
  """
  for axis in (1, 2):
    # In float32 throughout, as the original computes where to sample.
    side = images.shape[axis]
    at = np.arange(SIDE, dtype=np.float32) * np.float32(side / SIDE)
    low = np.floor(at).astype(np.int32)
    high = np.minimum(low + 1, side - 1)
    others = [i for i in range(4) if i != axis]
    share = np.expand_dims((at - low).astype(np.float32), others)
    before, after = jnp.take(images, low, axis), jnp.take(images, high, axis)
    images = before * (1 - share) + after * share
  return images


def _max_pool(x: jax.Array, strides: int, padding: str) -> jax.Array:
  if padding == 'SAME':
    x = _padded(x, -jnp.inf)
  return functools.reduce(jnp.maximum, _shifted(x, strides))


def _average_pool(x: jax.Array) -> jax.Array:
  """Of what is inside the picture."""
  ones = np.ones((1, *x.shape[1:3], 1), np.float32)
  total, count = (
    functools.reduce(operator.add, _shifted(_padded(array, 0.0), 1))
    for array in (x, ones)
  )
  return total / count


def _padded(x: jax.Array, value: float) -> jax.Array:
  around = ((0, 0), (1, 1), (1, 1), (0, 0))
  return jnp.pad(x, around, constant_values=value)


def _shifted(x: jax.Array, strides: int) -> list[jax.Array]:
  """For each place in a window of 3 x 3, what all windows have there."""
  height, width = (side - 2 for side in x.shape[1:3])
  return [
    x[:, row : row + height : strides, column : column + width : strides]
    for row in range(3)
    for column in range(3)
  ]
