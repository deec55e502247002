"""The values of a metric over all images."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Int, Shaped


@dataclasses.dataclass(frozen=True)
class Rows:
  """Values of images, by row; can be merged.

  A row is the position of an image in the evaluation. Statistics are computed
  in the order of the rows and in float64, so they do not depend on how the
  images were batched and distributed.

  Attributes:
    rows: rows of the values, one array per batch.
    values: a number or an array for each row.
  """

  rows: tuple[Int[np.ndarray, ' b'], ...] = ()
  values: tuple[Shaped[np.ndarray, 'b ...'], ...] = ()

  @classmethod
  def from_values(
    cls,
    rows: Int[np.ndarray, ' b'],
    values: Shaped[np.ndarray, 'b ...'],
    counted: Bool[np.ndarray, ' b'],
  ) -> Rows:
    """Keeps only the counted values."""
    counted = np.asarray(counted)
    return cls((np.asarray(rows)[counted],), (np.asarray(values)[counted],))

  def merge(self, other: Rows) -> Rows:
    """Returns the values of both."""
    return Rows(self.rows + other.rows, self.values + other.values)

  def __len__(self) -> int:
    return sum(map(len, self.rows))

  def ordered(
    self,
  ) -> tuple[Int[np.ndarray, ' n'], Shaped[np.ndarray, 'n ...']]:
    """Returns all rows, sorted, and their values.

    Raises:
      ValueError: there are none.
    """
    if not len(self):
      raise ValueError('there are no values')
    rows = np.concatenate(self.rows)
    order = np.argsort(rows, kind='stable')
    return rows[order], np.concatenate(self.values)[order]

  def mean(self) -> float | None:
    """Returns the mean of the values, None if there are none."""
    if not len(self):
      return None
    return float(self.ordered()[1].mean(dtype=np.float64))

  def median(self) -> float | None:
    """Returns the median of the values, None if there are none."""
    if not len(self):
      return None
    return float(np.median(self.ordered()[1].astype(np.float64)))
