"""The state that every per-picture metric shares: a sum and a count."""

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
