"""Bootstrap intervals of metrics.

Images of one person are similar, so people are resampled, not images: Davison
and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 1000
LEVEL = 0.95
SEED = 0


def resamples(
  people: Int[np.ndarray, ' n'], count: int
) -> Iterator[Int[np.ndarray, ' n']]:
  """Draws people with replacement, from a fixed seed.

  Args:
    people: the person of each image.
    count: number of resamples.

  Yields:
    How often each image is in the resample.
  """
  _, person = np.unique(people, return_inverse=True)
  number = person.max() + 1
  rng = np.random.default_rng(SEED)
  for _ in range(count):
    drawn = np.bincount(rng.integers(number, size=number), minlength=number)
    yield drawn[person]


def interval(
  values: Float[np.ndarray, ' n'],
  people: Int[np.ndarray, ' n'],
  statistic: Callable[..., float],
) -> list[float] | None:
  """Returns the percentile interval of a statistic at `LEVEL`.

  Args:
    values: one number per image.
    people: the person of each image.
    statistic: `weighted_mean` or `weighted_median`.

  Returns:
    The lower and the upper bound; None if all images are of one person.
  """
  if len(np.unique(people)) < 2:
    return None
  order = np.argsort(values, kind='stable')
  values = values[order].astype(np.float64)
  found = [
    statistic(values, counts[order]) for counts in resamples(people, RESAMPLES)
  ]
  return np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()


def weighted_mean(
  values: Float[np.ndarray, ' n'], counts: Int[np.ndarray, ' n']
) -> float:
  """Returns the mean of values repeated `counts` times."""
  return values @ counts / counts.sum()


def weighted_median(
  values: Float[np.ndarray, ' n'], counts: Int[np.ndarray, ' n']
) -> float:
  """Returns the median of sorted values repeated `counts` times."""
  total = np.cumsum(counts)
  middle = np.searchsorted(total, [(total[-1] + 1) // 2, total[-1] // 2 + 1])
  return values[middle].mean()
