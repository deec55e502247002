"""What the network says of the original pictures, computed once and kept.

A file holds the sums of `inception_scores.Distribution` for the originals of a
split, and what they were made from: it is used for the very same again, and
refused for anything else.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np

from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.evaluation import inception
from exgan_jax.evaluation.inception_features import KINDS, Gaussians
from exgan_jax.evaluation.metrics.frechet import Gaussian
from exgan_jax.face_records.cached_file import cache_folder

FORMAT = 1
SUFFIX = '.npz'
# Of both kinds together, whether as sums of products or as vectors.
MAX_BYTES = 5 * 8 * inception.FEATURES**2
_PROVENANCE = 'provenance'
_PARTS = ('total', 'products', 'vectors')

Provenance = dict[str, Any]


def cached(provenance: Provenance) -> pathlib.Path:
  """Returns where statistics are kept if the user names no file."""
  digest = hashlib.sha256(_text(provenance).encode()).hexdigest()
  return cache_folder() / 'real_statistics' / f'{digest[:32]}{SUFFIX}'


def save(
  path: str | os.PathLike, gaussians: Gaussians, provenance: Provenance
) -> None:
  """Writes statistics, whole or not at all, making their folder.

  Raises:
    OSError: they cannot be written.
  """
  arrays = {_PROVENANCE: np.asarray(_text(provenance))}
  for kind, gaussian in gaussians.items():
    arrays[f'{kind}/count'] = np.asarray(gaussian.count, np.int64)
    for part in _PARTS:
      if (array := getattr(gaussian, part)) is not None:
        arrays[f'{kind}/{part}'] = array
  files.write_npz(path, arrays)


def load(path: str | os.PathLike, provenance: Provenance) -> Gaussians:
  """Reads statistics that were made from the same.

  Raises:
    InputError: there is no such file, it holds something else, or what it
      holds was made from something else.
  """
  arrays = files.read_npz(path, MAX_BYTES, 'statistics of features')
  try:
    found = json.loads(str(arrays.pop(_PROVENANCE)))
    wanted = _plain(provenance)
    names = [*wanted, *sorted(found.keys() - wanted.keys())]
  except (KeyError, ValueError, AttributeError, RecursionError) as error:
    raise InputError(f'{path} does not say what it was made from') from error
  for name in names:
    if (one := found.get(name)) != (other := wanted.get(name)):
      raise InputError(
        f'{path} was made with {name} {one!r}, not {other!r}: name another'
        ' file, which will be made'
      )
  try:
    return {kind: _gaussian(arrays, kind) for kind in KINDS}
  except (KeyError, TypeError, ValueError) as error:
    raise InputError(f'{path} holds no statistics of features') from error


def _gaussian(arrays: dict[str, np.ndarray], kind: str) -> Gaussian:
  """Checks and assembles the sums of a kind; raises what NumPy does."""
  size = inception.FEATURES
  count = int(arrays[f'{kind}/count'])
  if count > size:
    names, shapes = ('total', 'products'), ((size,), (size, size))
  else:
    names, shapes = ('total', 'vectors'), ((size,), (count, size))
  parts = dict.fromkeys(_PARTS)
  for name, shape in zip(names, shapes, strict=True):
    array = arrays[f'{kind}/{name}']
    if array.shape != shape or array.dtype != np.float64:
      raise ValueError(f'{name} is {array.dtype} {array.shape}')
    if not np.isfinite(array).all():
      raise ValueError(f'{name} is not finite')
    parts[name] = array
  return Gaussian(count, **parts)


def _plain(provenance: Provenance) -> Provenance:
  return {'format': FORMAT} | provenance


def _text(provenance: Provenance) -> str:
  return json.dumps(_plain(provenance), sort_keys=True)
