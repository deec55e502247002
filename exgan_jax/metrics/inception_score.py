"""The Inception Score: are pictures of something, and of different things?

Salimans et al. 2016, "Improved Techniques for Training GANs".
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools

import numpy as np
from jaxtyping import Bool, Float

SPLITS = 10


@dataclasses.dataclass(frozen=True)
class ClassScores:
  """The logits of pictures, each under its name; a mergeable state.

  They are kept, in float32: 4 kB a picture. The score is a mean over splits of
  a shuffled order; here the order follows from the names, so that it is the
  same however the pictures came.

  Attributes:
    logits: [n, classes], without the network's bias.
    names: one for each row.
  """

  logits: tuple[Float[np.ndarray, 'b c'], ...] = ()
  names: tuple[str, ...] = ()

  @classmethod
  def from_values(
    cls,
    logits: Float[np.ndarray, 'b c'],
    counted: Bool[np.ndarray, ' b'],
    names: list[str],
  ) -> ClassScores:
    """Collects the counted ones.

    Args:
      logits: of a batch.
      counted: which of them to collect.
      names: one for each picture that is counted, unlike any other.
    """
    kept = np.asarray(logits, np.float32)[np.asarray(counted)]
    if len(kept) != len(names):
      raise ValueError(f'{len(kept)} pictures and {len(names)} names')
    return cls((kept,), tuple(names))

  def merge(self, other: ClassScores) -> ClassScores:
    """Returns the state of both sets of pictures together."""
    return ClassScores(self.logits + other.logits, self.names + other.names)

  def compute(self) -> tuple[float, float] | None:
    """Returns the mean and the population standard deviation over splits.

    None if there are fewer pictures than splits.
    """
    if len(self.names) < SPLITS:
      return None
    order = sorted(
      range(len(self.names)),
      key=lambda i: hashlib.sha256(self.names[i].encode()).digest(),
    )
    return inception_score(np.concatenate(self.logits)[order])


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
