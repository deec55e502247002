"""How well a linear classifier separates results from originals.

Zhao et al. 2021, "Large Scale Image Completion via Co-Modulated Generative
Adversarial Networks": the unpaired and paired inception discriminative scores
(U-IDS and P-IDS). The classifier is the linear support vector machine of
scikit-learn's `LinearSVC`: squared hinge loss, C = 1, a penalized intercept.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_STEPS = 100
_HALVINGS = 30


def discriminative_scores(
  real: Float[np.ndarray, 'n d'], made: Float[np.ndarray, 'n d']
) -> tuple[float, float]:
  """Returns U-IDS and P-IDS; 0 is separable, 0.5 is the best.

  Args:
    real: features of the originals.
    made: features of their results, in the same order.

  Returns:
    The rate of misclassified vectors, and the rate of results that look more
    real than their own original.
  """
  weights = separate(real, made)
  ours, theirs = (_extended(x) @ weights for x in (made, real))
  wrong = np.sum(ours > 0) + np.sum(theirs <= 0)
  return float(wrong / (len(ours) + len(theirs))), float(np.mean(ours > theirs))


def separate(
  real: Float[np.ndarray, 'n d'], made: Float[np.ndarray, 'm d']
) -> Float[np.ndarray, ' d+1']:
  """Returns the weights and the intercept of the support vector machine.

  Newton's method on |w|^2 / 2 + sum of max(0, 1 - y (x·w))^2, which is
  quadratic where the set of vectors with a loss does not change (Chapelle
  2007, "Training a Support Vector Machine in the Primal"). It ends when that
  set stays the same, at the exact minimum.
  """
  x = _extended(np.concatenate([real, made]))
  y = np.repeat([1.0, -1.0], [len(real), len(made)])

  def loss(weights):
    losses = np.maximum(1 - y * (x @ weights), 0)
    return weights @ weights / 2 + losses @ losses

  weights = np.zeros(x.shape[1])
  for _ in range(_STEPS):
    active = y * (x @ weights) < 1
    goal = _ridge(x[active], y[active])
    step, before = 1.0, loss(weights)
    for _ in range(_HALVINGS):
      candidate = weights + step * (goal - weights)
      if loss(candidate) <= before:
        break
      step /= 2
    weights = candidate
    if step == 1 and (active == (y * (x @ weights) < 1)).all():
      break
  return weights


def _ridge(
  x: Float[np.ndarray, 'n d'], y: Float[np.ndarray, ' n']
) -> Float[np.ndarray, ' d']:
  """Minimizes |w|^2 / 2 + |x w - y|^2, in the smaller of two forms."""
  if len(x) < x.shape[1]:
    return x.T @ np.linalg.solve(x @ x.T + np.eye(len(x)) / 2, y)
  return np.linalg.solve(x.T @ x + np.eye(x.shape[1]) / 2, x.T @ y)


def _extended(x: np.ndarray) -> Float[np.ndarray, 'n d+1']:
  return np.pad(x.astype(np.float64), ((0, 0), (0, 1)), constant_values=1.0)
