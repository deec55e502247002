"""The kernel distance of two sets of features: KID with Inception's.

Bińkowski et al. 2018, "Demystifying MMD GANs": the unbiased estimate of the
squared maximum mean discrepancy under the kernel (x·y / d + 1)^3.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

SUBSETS = 100
LARGEST = 1000
SEED = 2020


def kernel_distance(
  real: Float[np.ndarray, 'n d'], made: Float[np.ndarray, 'm d']
) -> tuple[float, float]:
  """Returns the mean and the standard deviation over random subsets.

  There are `SUBSETS` of them, drawn as torch-fidelity does. They have
  `LARGEST` vectors, or half of all vectors if that is less.
  """
  size = min(LARGEST, len(real) // 2, len(made) // 2)
  rng = np.random.RandomState(SEED)
  found = [
    _discrepancy(
      *(x[rng.choice(len(x), size, replace=False)] for x in (real, made))
    )
    for _ in range(SUBSETS)
  ]
  return float(np.mean(found)), float(np.std(found))


def _discrepancy(
  one: Float[np.ndarray, 'n d'], other: Float[np.ndarray, 'n d']
) -> float:
  one, other = one.astype(np.float64), other.astype(np.float64)
  number, dimensions = one.shape

  def kernel(x, y):
    return (x @ y.T / dimensions + 1) ** 3

  def within(x):
    values = kernel(x, x)
    return (values.sum() - np.trace(values)) / (number * (number - 1))

  return within(one) + within(other) - 2 * float(kernel(one, other).mean())
