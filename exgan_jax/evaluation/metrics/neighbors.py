"""Precision and recall of a set of features.

Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing
Generative Models": a set covers what is within the distance from one of its
vectors to that vector's third nearest neighbor.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

NEIGHBORS = 3
_BLOCK = 1024


def precision_and_recall(
  real: Float[np.ndarray, 'n d'], made: Float[np.ndarray, 'm d']
) -> tuple[float, float]:
  """Returns how much of the results is covered by originals, and vice versa.

  Both sets need more than `NEIGHBORS` vectors.
  """
  real, made = real.astype(np.float64), made.astype(np.float64)
  precision, recall = _covered(made, real), _covered(real, made)
  return float(precision.mean()), float(recall.mean())


def _covered(
  vectors: Float[np.ndarray, 'm d'], by: Float[np.ndarray, 'n d']
) -> Bool[np.ndarray, ' m']:
  inside = np.zeros(len(vectors), bool)
  for start in range(0, len(by), _BLOCK):
    block = by[start : start + _BLOCK]
    # Each vector is its own nearest neighbor.
    nearest = np.partition(_squares(block, by), NEIGHBORS, axis=1)
    radii = nearest[:, NEIGHBORS]
    inside |= (_squares(block, vectors) <= radii[:, None]).any(axis=0)
  return inside


def _squares(
  one: Float[np.ndarray, 'n d'], other: Float[np.ndarray, 'm d']
) -> Float[np.ndarray, 'n m']:
  """Returns the squared distances of all pairs."""
  lengths = np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1)[None]
  return lengths - 2 * one @ other.T
