"""Loads the published weights of the Inception network.

The published file is a PyTorch pickle. It is read once, by the PyTorch loader
that runs no code, and then kept as safetensors in the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import warnings

import jax
import numpy as np
import safetensors
import safetensors.numpy
from flax import nnx

from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.evaluation import inception
from exgan_jax.face_records.cached_file import cache_folder, download, sha256_of

URL = (
  'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/'
  'pt_inception-2015-12-05-6726825d.pth'
)
BYTES = 95_628_359
SHA256 = '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2'

_CONVERTED = 'inception-2015-12-05.safetensors'
_SOURCE = 'sha256_of_source'
# PyTorch's names of our parameters.
_LEAVES = {
  'kernel': 'weight',
  'scale': 'weight',
  'mean': 'running_mean',
  'var': 'running_var',
}

DOWNLOAD = 'download'

Weights = dict[str, np.ndarray]


def load(path: str | os.PathLike) -> Weights:
  """Returns the published weights.

  Args:
    path: path of the published file, or `download` to fetch it once.

  Raises:
    InputError: there is no such file, it is not the published one, or PyTorch
      is needed to read it but not installed.
  """
  converted = cache_folder() / _CONVERTED
  is_converted = _source_of(converted) == SHA256
  if path == DOWNLOAD:
    if not is_converted:
      path = _fetch()
  elif not pathlib.Path(path).is_file():
    raise InputError(f'no Inception weights at {path}')
  elif sha256_of(path) != SHA256:
    raise InputError(
      f'{path} is not the published file ({URL}): its SHA-256 differs; use '
      '--unverified-inception for other weights'
    )
  if is_converted:
    return _read(converted)
  weights = convert(path)
  data = safetensors.numpy.save(weights, metadata={_SOURCE: SHA256})
  files.write_bytes(converted, data)
  return weights


def load_unverified(path: str | os.PathLike) -> Weights:
  """Returns other weights in the published layout, `.pth` or `.safetensors`.

  Raises:
    InputError: the file is missing or has another layout.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise InputError(f'no Inception weights at {path}')
  return _read(path) if path.suffix == '.safetensors' else convert(path)


def convert(path: str | os.PathLike) -> Weights:
  """Reads the published layout with PyTorch, without running code in the file.

  Raises:
    InputError: PyTorch is not installed, or the file has another layout.
  """
  try:
    import torch
  except ImportError as error:
    raise InputError(
      'reading the Inception weights for the first time needs PyTorch: '
      "pip install 'exgan_jax[inception]'"
    ) from error
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # About files that it then refuses.
      state = torch.load(path, map_location='cpu', weights_only=True)
    named = {name: np.asarray(tensor) for name, tensor in state.items()}
  except Exception as error:  # Of a damaged file PyTorch raises nearly any.
    raise InputError(f'{path} is not a file of weights only') from error
  return _checked(named, path)


def parameters(weights: Weights) -> nnx.State:
  """Returns the weights as the state of `inception.Inception`."""
  state = nnx.to_flat_state(nnx.state(inception.abstract()))
  return nnx.from_flat_state(
    [
      (place, leaf.replace(_transposed(weights[_name(place)])))
      for place, leaf in state
    ]
  )


def _fetch() -> pathlib.Path:
  target = cache_folder() / URL.rpartition('/')[2]
  try:
    return download(URL, target, BYTES, SHA256)
  except OSError as error:
    raise InputError(
      f'cannot download the Inception weights ({error}); download {URL} and '
      'pass its path with --inception'
    ) from error


def _name(place: tuple) -> str:
  *modules, leaf = map(str, place)
  return '.'.join([*modules, _LEAVES.get(leaf, leaf)])


def _transposed(array: np.ndarray) -> jax.Array:
  """Transposes OIHW to HWIO, and OI to IO."""
  order = {4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim, (0,))
  return jax.numpy.asarray(np.transpose(array, order))


def published_shapes() -> dict[str, tuple[int, ...]]:
  """Returns the names and shapes of the published weights."""
  shapes = {}
  for place, leaf in nnx.to_flat_state(nnx.state(inception.abstract())):
    order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(len(leaf.shape), (0,))
    shapes[_name(place)] = tuple(leaf.shape[i] for i in order)
  return shapes


def _checked(named: Weights, path: str | os.PathLike) -> Weights:
  """Checks the network's weights and drops all others."""
  weights = {}
  for name, shape in published_shapes().items():
    if name not in named:
      raise InputError(f'{path} has no weights {name}')
    array = named[name]
    if array.shape != shape or array.dtype != np.float32:
      raise InputError(
        f'{path} has {name} as {array.dtype}{list(array.shape)}, not '
        f'float32{list(shape)}'
      )
    if name.endswith('running_var') and (array < 0).any():
      raise InputError(f'{path} has a negative variance in {name}')
    if not np.isfinite(array).all():
      raise InputError(f'{path} has values in {name} that are not finite')
    weights[name] = array
  return weights


def _read(path: pathlib.Path) -> Weights:
  try:
    named = safetensors.numpy.load_file(path)
  except (safetensors.SafetensorError, OSError, ValueError) as error:
    raise InputError(f'{path} is not a safetensors file') from error
  return _checked(named, path)


def _source_of(path: pathlib.Path) -> str | None:
  try:
    with safetensors.safe_open(path, framework='numpy') as file:
      return (file.metadata() or {}).get(_SOURCE)
  except (safetensors.SafetensorError, OSError):
    return None


def hash_of(weights: Weights) -> str:
  """Returns a SHA-256 over all weights."""
  digest = hashlib.sha256()
  for name in sorted(weights):
    digest.update(name.encode())
    digest.update(np.ascontiguousarray(weights[name]).tobytes())
  return digest.hexdigest()
