"""The spread of a Fréchet distance.

The distance of a sample is biased upwards, and that of a bootstrap resample,
which repeats images, even more. So percentiles are not used: the interval is
the distance plus and minus 1.96 standard deviations over the resamples.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from exgan_jax.evaluation.metrics import bootstrap
from exgan_jax.evaluation.metrics.frechet import Gaussian

RESAMPLES = 20
DEVIATIONS = 1.96


class Target:
  """The originals, which are not resampled."""

  def __init__(self, gaussian: Gaussian):
    self._mean, self._factor = gaussian.mean(), gaussian.factor()

  def distance(self, vectors: Float[np.ndarray, 'n d']) -> float:
    """Returns the Fréchet distance between vectors and the originals.

    Uses the eigenvalues of a symmetric matrix, which is faster than
    `frechet_distance` but has half its digits, enough for a spread.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    centered = (vectors - mean) / np.sqrt(len(vectors) - 1)
    product = centered @ self._factor
    gram = product.T @ product
    if gram.shape[0] > len(vectors):
      gram = product @ product.T
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))
    difference = mean - self._mean
    traces = np.sum(centered**2) + np.sum(self._factor**2)
    return float(difference @ difference + traces - 2 * roots.sum())


def deviation(
  target: Target,
  vectors: Float[np.ndarray, 'n d'],
  people: Int[np.ndarray, ' n'],
) -> float | None:
  """Returns the standard deviation over resamples of people.

  Returns None if all images are of one person.
  """
  if len(np.unique(people)) < 2:
    return None
  distances = [
    target.distance(np.repeat(vectors, counts, axis=0))
    for counts in bootstrap.resamples(people, RESAMPLES)
  ]
  return float(np.std(distances, ddof=1))
