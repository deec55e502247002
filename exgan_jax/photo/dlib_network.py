"""dlib's face recognition network, from the package `face-recognition-models`.

A residual network of 29 layers by Davis King, in the public domain
(https://github.com/davisking/dlib-models). It was trained to keep pictures of
one person within a distance of 0.6.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.runtime import compilation

PACKAGE = 'face_recognition_models'
SIDE = 150
_FILE = 'models/dlib_face_recognition_resnet_model_v1.dat'
_BYTES = 22_466_066
_SHA256 = '55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30'
# Mean of red, green and blue in its training pictures.
_MEAN = (122.782, 117.001, 104.298)
# Channels of the residual blocks, and which of them halve the picture.
_CHANNELS = [32] * 3 + [64] * 4 + [128] * 3 + [256] * 4
_HALVING = (3, 7, 10, 13)

Weights = list[tuple[Array, Array]]


class Network:
  """Takes a face to 128 numbers.

  Args:
    path: of dlib's file.

  Raises:
    InputError: it is not the published file.
  """

  def __init__(self, path: pathlib.Path):
    data = files.read_bytes(path, _BYTES)
    if hashlib.sha256(data).hexdigest() != _SHA256:
      raise InputError(f'{path} is not the published file')
    self._weights = _read(data)
    self._run = jax.jit(
      _forward,
      compiler_options=compilation.options(jax.local_devices()[0].platform),
    )

  def __call__(
    self, image: UInt8[np.ndarray, '150 150 3']
  ) -> Float[np.ndarray, ' 128']:
    return np.asarray(self._run(self._weights, image[None])[0])


def find() -> pathlib.Path | None:
  """Where the installed package has the file; None if it is not installed."""
  # Importing the package would fail: it needs what setuptools no longer has.
  spec = importlib.util.find_spec(PACKAGE)
  folders = (spec and spec.submodule_search_locations) or []
  return next((pathlib.Path(folder, _FILE) for folder in folders), None)


def _read(data: bytes) -> Weights:
  """Reads kernels (HWIO) and biases from dlib's serialized network.

  Layers follow one another from the picture on, each as its name and a tensor:
  of a convolution its kernel and bias, of an affine layer factors and shifts.
  """
  tensors = [
    _tensor(data, match.end(), skipped=2 * (match[0] == b'fc_2'))
    for match in re.finditer(rb'con_4|affine_|fc_2', data)
  ]
  *pairs, last = tensors
  shapes = [(7, 3, 32)]
  for inputs, outputs in zip([32, *_CHANNELS], _CHANNELS, strict=False):
    shapes += [(3, inputs, outputs), (3, outputs, outputs)]
  weights: Weights = []
  for (side, inputs, outputs), kernel, affine in zip(
    shapes, pairs[::2], pairs[1::2], strict=True
  ):
    factor, shift = np.split(affine, 2)
    kernel, bias = np.split(kernel, [-outputs])
    kernel = kernel.reshape(outputs, inputs, side, side).transpose(2, 3, 1, 0)
    weights.append(
      (jnp.asarray(kernel * factor), jnp.asarray(bias * factor + shift))
    )
  fully = last.reshape(_CHANNELS[-1], -1)
  return [*weights, (jnp.asarray(fully), jnp.zeros(fully.shape[1]))]


def _tensor(data: bytes, at: int, skipped: int) -> Float[np.ndarray, ' n']:
  """The tensor behind so many integers and the number of its format."""

  def integer() -> int:
    nonlocal at
    size = data[at]
    at += 1 + size
    return int.from_bytes(data[at - size : at], 'little')

  for _ in range(skipped + 1):
    integer()
  count = int(np.prod([integer() for _ in range(4)]))
  return np.frombuffer(data, '<f4', count, at)


def _forward(
  weights: Weights, image: UInt8[Array, 'b 150 150 3']
) -> Float[Array, 'b 128']:
  first, *inner, last = weights
  x = (image.astype(jnp.float32) - jnp.array([[[_MEAN]]])) / 256
  x = _pool(jax.nn.relu(_conv(x, first, 2)), 3, lax.max, -jnp.inf)
  for block in range(len(_CHANNELS)):
    one, two = inner[2 * block : 2 * block + 2]
    is_halving = block in _HALVING
    y = _conv(jax.nn.relu(_conv(x, one, 2 if is_halving else 1)), two, 1)
    if is_halving:
      x = _pool(x, 2, lax.add, 0.0) / 4
    x = jax.nn.relu(_sum(x, y))
  return x.mean(axis=(1, 2)) @ last[0]


def _conv(x: Array, weights: tuple[Array, Array], stride: int) -> Array:
  kernel, bias = weights
  padding = 0 if stride > 1 else kernel.shape[0] // 2
  return bias[None, None, None] + lax.conv_general_dilated(
    x, kernel, (stride, stride), [(padding, padding)] * 2,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )  # fmt: skip


def _pool(x: Array, side: int, function: Any, initial: float) -> Array:
  window, strides = (1, side, side, 1), (1, 2, 2, 1)
  return lax.reduce_window(x, initial, function, window, strides, 'VALID')


def _sum(x: Array, y: Array) -> Array:
  """Their sum; where one is smaller, it is continued by zeros."""
  shape = np.maximum(x.shape, y.shape)
  x, y = (jnp.pad(z, [(0, n) for n in shape - z.shape]) for z in (x, y))
  return x + y
