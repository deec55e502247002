"""Inception-V3 as TensorFlow published it on 2015-12-05, for FID.

Szegedy et al. 2015, "Rethinking the Inception Architecture for Computer
Vision". FID is defined by this graph (Heusel et al. 2017), which differs from
later ones of the same name: average pooling ignores the padding, the last block
uses max pooling, batch normalization has an epsilon of 1e-3, there are 1008
classes, and images are resized by TensorFlow 1's bilinear resize. Layers have
the names of the published weights.

Pooling, resizing and 1 x 1 convolutions are written out because XLA's own
operations are slower on a CPU.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

SIDE = 299
FEATURES = 2048
CLASSES = 1008
_EPSILON = 1e-3
_PRECISION = jax.lax.Precision.HIGHEST


class Conv(nnx.Module):
  """A convolution, batch normalization by stored statistics, ReLU."""

  def __init__(
    self,
    in_channels: int,
    out_channels: int,
    kernel: tuple[int, int] = (1, 1),
    *,
    strides: int = 1,
    padding: str = 'SAME',
    rngs: nnx.Rngs,
  ):
    self._strides = strides
    self._is_unpadded = padding == 'VALID'
    self.conv = nnx.Conv(
      in_channels,
      out_channels,
      kernel,
      strides=strides,
      # With any padding XLA takes half the time on a CPU; the extra output is
      # cut off.
      padding=((0, 1), (0, 1)) if self._is_unpadded else padding,
      use_bias=False,
      precision=_PRECISION,
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
      return jnp.matmul(x, kernel[0, 0], precision=_PRECISION)
    y = self.conv(x)
    if not self._is_unpadded:
      return y
    height, width = (
      (side - size) // self._strides + 1
      for side, size in zip(x.shape[1:3], kernel.shape[:2], strict=True)
    )
    return y[:, :height, :width]


class Block(nnx.Module):
  """Parallel branches whose channels are concatenated.

  Args:
    in_channels: channels of the input.
    branches: one line per branch. Each layer is written as `name channels
      height x width`; `/2` means strides of 2 without padding. `>` stands
      between consecutive layers, `|` between parallel ones.
    pool: channels of the convolution after the pooling branch; 0 for max
      pooling with strides of 2 and no convolution.
    pooling: `average` or `max`, if there is a convolution.
    rngs: for initial parameters, which are never used.
  """

  def __init__(
    self,
    in_channels: int,
    branches: str,
    *,
    pool: int = 0,
    pooling: str = 'average',
    rngs: nnx.Rngs,
  ):
    self._pooling = pooling if pool else 'halving'
    names = []
    for line in branches.strip().splitlines():
      channels, branch = in_channels, []
      for step in line.split('>'):
        layers = list(_layers(step))
        for name, out_channels, kernel, strides in layers:
          padding = 'SAME' if strides == 1 else 'VALID'
          conv = Conv(
            *(channels, out_channels, kernel),
            strides=strides,
            padding=padding,
            rngs=rngs,
          )
          setattr(self, name, conv)
        channels = layers[-1][1]
        branch.append(tuple(name for name, *_ in layers))
      names.append(tuple(branch))
    self._branches = tuple(names)
    if pool:
      self.branch_pool = Conv(in_channels, pool, rngs=rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    found = []
    for branch in self._branches:
      outputs = [x]
      for names in branch:
        outputs = [getattr(self, name)(outputs[0]) for name in names]
      found += outputs
    match self._pooling:
      case 'average':
        found.append(self.branch_pool(_average_pool(x)))
      case 'max':
        found.append(self.branch_pool(_max_pool(x, 1, 'SAME')))
      case 'halving':
        found.append(_max_pool(x, 2, 'VALID'))
    return jnp.concatenate(found, axis=-1)


def _layers(step: str) -> Iterator[tuple[str, int, tuple[int, int], int]]:
  """Parses parallel layers into names, channels, kernels and strides."""
  for layer in step.split('|'):
    match = re.fullmatch(r'(\w+) (\d+) (\d)x(\d)(/2)?', layer.strip())
    assert match, layer
    name, channels, height, width, halved = match.groups()
    yield name, int(channels), (int(height), int(width)), 2 if halved else 1


_MIXED_5 = """
branch1x1 64 1x1
branch5x5_1 48 1x1 > branch5x5_2 64 5x5
branch3x3dbl_1 64 1x1 > branch3x3dbl_2 96 3x3 > branch3x3dbl_3 96 3x3
"""
_MIXED_6A = """
branch3x3 384 3x3/2
branch3x3dbl_1 64 1x1 > branch3x3dbl_2 96 3x3 > branch3x3dbl_3 96 3x3/2
"""
_MIXED_6 = """
branch1x1 192 1x1
branch7x7_1 {0} 1x1 > branch7x7_2 {0} 1x7 > branch7x7_3 192 7x1
branch7x7dbl_1 {0} 1x1 > branch7x7dbl_2 {0} 7x1 > branch7x7dbl_3 {0} 1x7 \
> branch7x7dbl_4 {0} 7x1 > branch7x7dbl_5 192 1x7
"""
_MIXED_7A = """
branch3x3_1 192 1x1 > branch3x3_2 320 3x3/2
branch7x7x3_1 192 1x1 > branch7x7x3_2 192 1x7 > branch7x7x3_3 192 7x1 \
> branch7x7x3_4 192 3x3/2
"""
_MIXED_7 = """
branch1x1 320 1x1
branch3x3_1 384 1x1 > branch3x3_2a 384 1x3 | branch3x3_2b 384 3x1
branch3x3dbl_1 448 1x1 > branch3x3dbl_2 384 3x3 \
> branch3x3dbl_3a 384 1x3 | branch3x3dbl_3b 384 3x1
"""


class Inception(nnx.Module):
  """Maps uint8 images of any size to features and logits."""

  def __init__(self, rngs: nnx.Rngs):
    conv = functools.partial(Conv, rngs=rngs)
    block = functools.partial(Block, rngs=rngs)
    self.Conv2d_1a_3x3 = conv(3, 32, (3, 3), strides=2, padding='VALID')
    self.Conv2d_2a_3x3 = conv(32, 32, (3, 3), padding='VALID')
    self.Conv2d_2b_3x3 = conv(32, 64, (3, 3))
    self.Conv2d_3b_1x1 = conv(64, 80)
    self.Conv2d_4a_3x3 = conv(80, 192, (3, 3), padding='VALID')
    self.Mixed_5b = block(192, _MIXED_5, pool=32)
    self.Mixed_5c = block(256, _MIXED_5, pool=64)
    self.Mixed_5d = block(288, _MIXED_5, pool=64)
    self.Mixed_6a = block(288, _MIXED_6A)
    self.Mixed_6b = block(768, _MIXED_6.format(128), pool=192)
    self.Mixed_6c = block(768, _MIXED_6.format(160), pool=192)
    self.Mixed_6d = block(768, _MIXED_6.format(160), pool=192)
    self.Mixed_6e = block(768, _MIXED_6.format(192), pool=192)
    self.Mixed_7a = block(768, _MIXED_7A)
    self.Mixed_7b = block(1280, _MIXED_7, pool=192)
    self.Mixed_7c = block(2048, _MIXED_7, pool=192, pooling='max')
    self.fc = nnx.Linear(FEATURES, CLASSES, precision=_PRECISION, rngs=rngs)

  def __call__(
    self, images: UInt8[Array, 'b h w 3']
  ) -> tuple[Float[Array, 'b 2048'], Float[Array, 'b 1008']]:
    """Returns the features for FID, and the logits without the bias.

    The Inception Score is defined by logits without the bias.
    """
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
    return features, jnp.matmul(features, kernel, precision=_PRECISION)


def abstract() -> Inception:
  """Returns the network with shapes in place of its parameters."""
  return nnx.eval_shape(lambda: Inception(nnx.Rngs(0)))


def resize(images: Float[Array, 'b h w 3']) -> Float[Array, 'b s s 3']:
  """Resizes to 299 x 299 like TensorFlow 1 (`align_corners=False`).

  Unlike `jax.image.resize`, output pixels are sampled at their index times the
  scale, without a shift by half a pixel, and there is no antialiasing.
  """
  for axis in (1, 2):
    # In float32 throughout, as in TensorFlow.
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
  """Averages without the padding."""
  ones = np.ones((1, *x.shape[1:3], 1), np.float32)
  total, count = (
    functools.reduce(operator.add, _shifted(_padded(array, 0.0), 1))
    for array in (x, ones)
  )
  return total / count


def _padded(x: jax.Array | np.ndarray, value: float) -> jax.Array:
  around = ((0, 0), (1, 1), (1, 1), (0, 0))
  return jnp.pad(x, around, constant_values=value)


def _shifted(x: jax.Array, strides: int) -> list[jax.Array]:
  """Returns the values at each of the nine places of all 3 x 3 windows."""
  height, width = (side - 2 for side in x.shape[1:3])
  return [
    x[:, row : row + height : strides, column : column + width : strides]
    for row in range(3)
    for column in range(3)
  ]
