"""Bootstrap intervals: how far a metric might be elsewhere with other people.

Pictures of one person are alike, so people are drawn, not pictures: Davison and
Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8.
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
  """Draws people with replacement, always the same ones.

  Args:
    people: whose picture each is.
    count: of resamples.

  Yields:
    How often each picture is in the resample.
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
    values: a number a picture.
    people: whose picture each is.
    statistic: `weighted_mean` or `weighted_median`.

  Returns:
    Its low and its high end; None where all pictures are of one person.
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
  """Returns the mean of values, each taken so many times."""
  return values @ counts / counts.sum()


def weighted_median(
  values: Float[np.ndarray, ' n'], counts: Int[np.ndarray, ' n']
) -> float:
  """Returns the median of sorted values, each taken so many times."""
  total = np.cumsum(counts)
  middle = np.searchsorted(total, [(total[-1] + 1) // 2, total[-1] // 2 + 1])
  return values[middle].mean()
