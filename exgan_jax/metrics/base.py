"""The states that per-picture metrics share."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float


@dataclasses.dataclass(frozen=True)
class Mean:
  """The mean of a per-picture value over a data set, as a mergeable sum.

  The values are computed on the device and summed on the host in float64, so
  the result does not depend on how the data set was cut into batches.

  Attributes:
    total: the sum of the values.
    count: the number of pictures in that sum.
  """

  total: float = 0.0
  count: int = 0

  @classmethod
  def from_values(
    cls, values: Float[np.ndarray, ' b'], counted: Bool[np.ndarray, ' b']
  ) -> Mean:
    """Sums the counted values; the others add nothing, not even their NaN."""
    kept = np.asarray(values)[np.asarray(counted)]
    return cls(float(kept.sum(dtype=np.float64)), len(kept))

  def merge(self, other: Mean) -> Mean:
    """Returns the state of both sets of pictures together."""
    return Mean(self.total + other.total, self.count + other.count)

  def compute(self) -> float | None:
    """Returns the mean over all pictures seen, None if there were none."""
    return self.total / self.count if self.count else None


@dataclasses.dataclass(frozen=True)
class Median:
  """The median of values over a data set; it keeps them all.

  Attributes:
    values: those seen.
  """

  values: tuple[float, ...] = ()

  @classmethod
  def from_values(
    cls, values: Float[np.ndarray, ' b'], counted: Bool[np.ndarray, ' b']
  ) -> Median:
    """Keeps the counted values."""
    return cls(tuple(np.asarray(values)[np.asarray(counted)].tolist()))

  def merge(self, other: Median) -> Median:
    """Returns the state of both sets of values together."""
    return Median(self.values + other.values)

  def compute(self) -> float | None:
    """Returns the median of all values seen, None if there were none."""
    return float(np.median(self.values)) if self.values else None
