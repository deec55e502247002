"""Inception statistics of the original images, computed once and kept.

A file holds the sums of `inception_features.Distribution` over the originals
of a split, and the provenance of those sums. It is used only where the
provenance is the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import pathlib
from typing import Any

import numpy as np

from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.evaluation import inception
from exgan_jax.evaluation.inception_features import KINDS, Gaussians
from exgan_jax.evaluation.metrics.frechet import Gaussian
from exgan_jax.face_records.cached_file import cache_folder
from exgan_jax.runtime import processes

logger = logging.getLogger(__name__)

FORMAT = 1
# Both kinds, each stored as sums of products or as vectors.
MAX_BYTES = 5 * 8 * inception.FEATURES**2
_PROVENANCE = 'provenance'


@dataclasses.dataclass(frozen=True)
class Store:
  """The file of some statistics.

  Attributes:
    provenance: what the statistics are computed from.
    named: file that the user named; None for one in the user's cache, which
      is replaced if it is damaged.
  """

  provenance: dict[str, Any]
  named: str | pathlib.Path | None = None

  @property
  def path(self) -> pathlib.Path:
    if self.named is not None:
      return pathlib.Path(self.named)
    digest = hashlib.sha256(self._text.encode()).hexdigest()
    return cache_folder() / 'real_statistics' / f'{digest[:32]}.npz'

  @property
  def _text(self) -> str:
    return json.dumps({'format': FORMAT} | self.provenance, sort_keys=True)

  def load(self) -> Gaussians | None:
    """Reads the statistics; returns None unless every process finds them.

    Raises:
      InputError: the named file is damaged or has another provenance.
    """
    found = None
    if self.path.is_file():
      try:
        found = self._read()
      except InputError as error:
        if self.named is not None:
          raise
        logger.warning('%s; recomputing it', error)
    return found if processes.all_of(found is not None) else None

  def _read(self) -> Gaussians:
    arrays = files.read_npz(self.path, MAX_BYTES, 'Inception statistics')
    try:
      found = json.loads(str(arrays.pop(_PROVENANCE)))
      wanted = {'format': FORMAT} | self.provenance
      names = [*wanted, *sorted(found.keys() - wanted.keys())]
    except (KeyError, ValueError, AttributeError, RecursionError) as error:
      raise InputError(f'{self.path} has no readable provenance') from error
    for name in names:
      if (one := found.get(name)) != (other := wanted.get(name)):
        raise InputError(
          f'{self.path} was made with {name} {one!r}, not {other!r}; name a new'
          ' file'
        )
    try:
      return {kind: _gaussian(arrays, kind) for kind in KINDS}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
      raise InputError(f'{self.path} holds no Inception statistics') from error

  def save(self, gaussians: Gaussians) -> None:
    """Writes the statistics from the first process, unless they are empty.

    Raises:
      OSError: the named file cannot be written.
    """
    fewest = min(gaussian.count for gaussian in gaussians.values())
    if not fewest or not processes.is_first():
      return
    arrays = {_PROVENANCE: np.asarray(self._text)}
    for kind, gaussian in gaussians.items():
      arrays[f'{kind}/count'] = np.asarray(gaussian.count, np.int64)
      for part in ('total', 'products', 'vectors'):
        if (array := getattr(gaussian, part)) is not None:
          arrays[f'{kind}/{part}'] = array
    try:
      files.write_npz(self.path, arrays)
    except OSError as error:
      if self.named is not None:
        raise
      logger.warning('cannot write %s: %s', self.path, error.strerror)


def _gaussian(arrays: dict[str, np.ndarray], kind: str) -> Gaussian:
  """Checks and assembles the sums of one kind.

  Raises:
    KeyError, TypeError, ValueError: an array is missing or wrong.
  """
  size = inception.FEATURES
  count = int(arrays[f'{kind}/count'])

  def checked(name: str, *shape: int) -> np.ndarray:
    array = arrays[f'{kind}/{name}']
    if array.shape != shape or array.dtype != np.float64:
      raise ValueError(f'{name} is {array.dtype} {array.shape}')
    if not np.isfinite(array).all():
      raise ValueError(f'{name} is not finite')
    return array

  total = checked('total', size)
  if count > size:
    return Gaussian(count, total, checked('products', size, size), None)
  return Gaussian(count, total, None, checked('vectors', count, size))
