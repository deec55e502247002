"""Inception statistics of the original images, computed once and kept.

A file holds the features of the originals of a split, or of very many their
sums, and what they were computed from. It is used only where that is the same.
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
from exgan_jax.evaluation.inception_features import (
  HOLES,
  KEPT,
  KINDS,
  Originals,
  Statistics,
  statistics_of,
)
from exgan_jax.evaluation.metrics import Rows
from exgan_jax.evaluation.metrics.frechet import Gaussian
from exgan_jax.face_records.cached_file import cache_folder
from exgan_jax.runtime import processes

logger = logging.getLogger(__name__)

FORMAT = 2
# The features of images and of their holes; sums take less.
MAX_BYTES = (1 + HOLES) * KEPT * (4 * inception.FEATURES + 8) + 2**20
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

  def load(self) -> Originals | None:
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

  def _read(self) -> Originals:
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
      return {kind: _statistics(arrays, kind) for kind in KINDS}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
      raise InputError(f'{self.path} holds no Inception statistics') from error

  def save(self, originals: Originals) -> None:
    """Writes the statistics from the first process, unless they are empty.

    Raises:
      OSError: the named file cannot be written.
    """
    fewest = min(one.gaussian.count for one in originals.values())
    if not fewest or not processes.is_first():
      return
    arrays = {_PROVENANCE: np.asarray(self._text)}
    for kind, one in originals.items():
      if one.features is not None:
        rows, features = one.features.ordered()
        parts = {'rows': rows.astype(np.int64), 'features': features}
      else:
        parts = {
          'count': np.asarray(one.gaussian.count, np.int64),
          'total': one.gaussian.total,
          'products': one.gaussian.all_products(),
        }
      arrays |= {f'{kind}/{name}': array for name, array in parts.items()}
    try:
      files.write_npz(self.path, arrays)
    except OSError as error:
      if self.named is not None:
        raise
      logger.warning('cannot write %s: %s', self.path, error.strerror)


def _statistics(arrays: dict[str, np.ndarray], kind: str) -> Statistics:
  """Checks and assembles the statistics of one kind.

  Raises:
    KeyError, TypeError, ValueError: an array is missing or wrong.
  """
  size = inception.FEATURES

  def checked(name: str, dtype: type, *shape: int) -> np.ndarray:
    array = arrays[f'{kind}/{name}']
    if array.shape != shape or array.dtype != dtype:
      raise ValueError(f'{name} is {array.dtype} {array.shape}')
    if not np.isfinite(array).all():
      raise ValueError(f'{name} is not finite')
    return array

  if f'{kind}/features' in arrays:
    count = len(arrays[f'{kind}/rows'])
    rows = checked('rows', np.int64, count)
    features = checked('features', np.float32, count, size)
    return statistics_of(Rows((rows,), (features,)))
  count = int(arrays[f'{kind}/count'])
  total = checked('total', np.float64, size)
  products = checked('products', np.float64, size, size)
  return Statistics(Gaussian(count, total, products, None), None)
