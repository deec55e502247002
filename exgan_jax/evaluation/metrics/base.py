"""The state that all metrics of pictures share."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Int, Shaped


@dataclasses.dataclass(frozen=True)
class Rows:
  """What was found of each picture, under its row: a mergeable state.

  Rows are the pictures' places in the evaluation. What is computed from them is
  computed once, in their order, in float64: the result is the same to the last
  bit however the pictures were cut into batches and dealt out to devices.

  Attributes:
    rows: of the values, a part a batch.
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
    """Keeps the counted values; the others add nothing, not even their NaN."""
    counted = np.asarray(counted)
    return cls((np.asarray(rows)[counted],), (np.asarray(values)[counted],))

  def merge(self, other: Rows) -> Rows:
    """Returns the state of both sets of pictures together."""
    return Rows(self.rows + other.rows, self.values + other.values)

  def __len__(self) -> int:
    return sum(map(len, self.rows))

  def ordered(
    self,
  ) -> tuple[Int[np.ndarray, ' n'], Shaped[np.ndarray, 'n ...']]:
    """Returns all rows in their order, and their values.

    Raises:
      ValueError: there are none.
    """
    if not len(self):
      raise ValueError('no picture')
    rows = np.concatenate(self.rows)
    order = np.argsort(rows, kind='stable')
    return rows[order], np.concatenate(self.values)[order]

  def mean(self) -> float | None:
    """Returns the mean of the values, None if there are none."""
    return (
      float(self.ordered()[1].mean(dtype=np.float64)) if len(self) else None
    )

  def median(self) -> float | None:
    """Returns the median of the values, None if there are none."""
    if not len(self):
      return None
    return float(np.median(self.ordered()[1].astype(np.float64)))
