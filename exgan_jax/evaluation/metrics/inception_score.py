"""The Inception Score.

Salimans et al. 2016, "Improved Techniques for Training GANs".
"""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float

SPLITS = 10
SHUFFLE_SEED = 0


def shuffled(logits: Float[np.ndarray, 'n c']) -> Float[np.ndarray, 'n c']:
  """Shuffles logits by a fixed seed.

  Consecutive images may be of one person, and splits of similar images would
  get lower scores.
  """
  return logits[np.random.default_rng(SHUFFLE_SEED).permutation(len(logits))]


def inception_score(
  logits: Float[np.ndarray, 'n c'], splits: int = SPLITS
) -> tuple[float, float]:
  """Returns the mean and the standard deviation of the score over splits.

  The score of a split is the exponential of the mean Kullback-Leibler
  divergence of its images' class probabilities from their mean.
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
    # A class of probability 0 adds nothing.
    log_mean = np.log(np.maximum(mean, np.finfo(np.float64).tiny))
    scores.append(np.exp(np.mean(np.sum(p * (part - log_mean), axis=1))))
  return float(np.mean(scores)), float(np.std(scores))
