"""The Inception Score: are pictures of something, and of different things?

Salimans et al. 2016, "Improved Techniques for Training GANs".
"""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float

SPLITS = 10
SHUFFLE_SEED = 0


def shuffled(logits: Float[np.ndarray, 'n c']) -> Float[np.ndarray, 'n c']:
  """Returns them in an order that depends on their number alone.

  Neighbours are alike where pictures of a person follow each other, and a split
  of like pictures scores lower.
  """
  return logits[np.random.default_rng(SHUFFLE_SEED).permutation(len(logits))]


def inception_score(
  logits: Float[np.ndarray, 'n c'], splits: int = SPLITS
) -> tuple[float, float]:
  """Returns the score of logits in their order: mean and deviation of splits.

  A split's score is the exponential of the mean Kullback-Leibler divergence of
  its pictures' class probabilities from their mean.
  """
  logits = np.asarray(logits, np.float64)
  logits = logits - logits.max(axis=1, keepdims=True)
  log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  scores = []
  edges = [i * len(logits) // splits for i in range(splits + 1)]
  for start, stop in itertools.pairwise(edges):
    part = log_p[start:stop]
    p = np.exp(part)
    mean = p.mean(axis=0)
    # A class that no picture is of adds nothing.
    log_mean = np.log(np.maximum(mean, np.finfo(np.float64).tiny))
    scores.append(np.exp(np.mean(np.sum(p * (part - log_mean), axis=1))))
  return float(np.mean(scores)), float(np.std(scores))
