"""What samples tell of a Fréchet distance: its spread, and its limit.

The distance of a sample is biased upwards, by about a constant over the number
of pictures: so the limit for infinitely many is where a line through distances
of smaller samples, over the inverse of their size, ends (Chong and Forsyth,
"Effectively Unbiased FID and Inception Score and Where to Find Them", CVPR
2020). A resample repeats pictures and is biased further, so its percentiles are
no interval: the interval here is the distance and 1.96 standard deviations of
the resamples to both sides.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from exgan_jax.evaluation.metrics import bootstrap
from exgan_jax.evaluation.metrics.frechet import Gaussian

RESAMPLES = 20
POINTS = 15
# As the authors' program: from 5,000 or a tenth, but not below 2,000.
SMALLEST, LARGEST = 2000, 5000
DEVIATIONS = 1.96


class Target:
  """The originals, which stay as they are while the results are resampled."""

  def __init__(self, gaussian: Gaussian):
    self._mean, self._factor = gaussian.mean(), gaussian.factor()

  def distance(self, vectors: Float[np.ndarray, 'n d']) -> float:
    """Returns the Fréchet distance of vectors from the originals.

    By the eigenvalues of a symmetric matrix, which is faster than
    `frechet_distance` and loses half of its digits: enough for a spread.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = (vectors - mean) / np.sqrt(len(vectors) - 1)
    product = centred @ self._factor
    gram = product.T @ product
    if gram.shape[0] > len(vectors):
      gram = product @ product.T
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))
    difference = mean - self._mean
    traces = np.sum(centred**2) + np.sum(self._factor**2)
    return float(difference @ difference + traces - 2 * roots.sum())


def deviation(
  target: Target,
  vectors: Float[np.ndarray, 'n d'],
  people: Int[np.ndarray, ' n'],
) -> float | None:
  """Returns the standard deviation over resamples of people.

  None where all pictures are of one person.
  """
  if len(np.unique(people)) < 2:
    return None
  distances = []
  for counts in bootstrap.resamples(people, RESAMPLES):
    distances.append(target.distance(np.repeat(vectors, counts, axis=0)))
  return float(np.std(distances, ddof=1))


def limit(
  target: Target,
  vectors: Float[np.ndarray, 'n d'],
  smallest: int | None = None,
) -> float:
  """Returns the distance that infinitely many pictures would have.

  Args:
    target: the originals.
    vectors: of the results, as many as there are.
    smallest: size of the smallest sample; by default as the authors choose.
  """
  if smallest is None:
    smallest = min(LARGEST, max(len(vectors) // 10, SMALLEST))
  sizes = np.linspace(smallest, len(vectors), POINTS).astype(int)
  rng = np.random.default_rng(bootstrap.SEED)
  distances = [
    target.distance(vectors[rng.permutation(len(vectors))[:size]])
    for size in sizes
  ]
  return float(np.polyfit(1 / sizes, distances, 1)[1])
