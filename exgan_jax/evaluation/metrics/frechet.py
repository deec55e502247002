"""The Fréchet distance of two sets of feature vectors, each as a Gaussian.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a
Local Nash Equilibrium": |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2)).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

# Of the longest column. What float64 rounds off a square of that length is
# 1e-8 of it: an angle whose own square is lost in rounding.
_SHORT = 1e-4


@dataclasses.dataclass(frozen=True)
class Gaussian:
  """Mean and covariance of feature vectors, as mergeable sums in float64.

  Attributes:
    count: number of vectors.
    total: their sum, [d].
    products: sum of their outer products, [d, d].
    vectors: themselves, [count, d], while they are fewer than dimensions; the
      covariance then has too low a rank for its eigenvalues to be of use.
  """

  count: int
  total: Float[np.ndarray, ' d']
  products: Float[np.ndarray, 'd d'] | None
  vectors: Float[np.ndarray, 'n d'] | None

  @classmethod
  def empty(cls, dimensions: int) -> Gaussian:
    """Returns the state of no vector."""
    return cls(0, np.zeros(dimensions), None, np.zeros((0, dimensions)))

  @classmethod
  def from_values(
    cls, vectors: Float[np.ndarray, 'b d'], counted: Bool[np.ndarray, ' b']
  ) -> Gaussian:
    """Collects the counted vectors; the others add nothing."""
    kept = np.asarray(vectors, np.float64)[np.asarray(counted)]
    return _gaussian(len(kept), kept.sum(axis=0), None, kept)

  def merge(self, other: Gaussian) -> Gaussian:
    """Returns the state of both sets together."""
    count, total = self.count + other.count, self.total + other.total
    if self.vectors is not None and other.vectors is not None:
      both = np.concatenate([self.vectors, other.vectors])
      return _gaussian(count, total, None, both)
    products = self._products() + other._products()
    return _gaussian(count, total, products, None)

  def mean(self) -> Float[np.ndarray, ' d']:
    """Returns the mean vector.

    Raises:
      ValueError: there is no vector.
    """
    if not self.count:
      raise ValueError('no vector')
    return self.total / self.count

  def factor(self) -> Float[np.ndarray, 'd k']:
    """Returns a matrix whose product with its transpose is the covariance.

    Raises:
      ValueError: there are fewer than two vectors.
    """
    if self.count < 2:
      raise ValueError('a covariance takes two vectors')
    if self.vectors is not None:
      centred = self.vectors - self.mean()
      return centred.T / np.sqrt(self.count - 1)
    scatter = self.products - np.outer(self.total, self.total) / self.count
    covariance = scatter / (self.count - 1)
    try:
      return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
      # Some features depend on others. This takes ten times as long.
      values, axes = np.linalg.eigh(covariance)
      return axes * np.sqrt(np.maximum(values, 0.0))

  def _products(self) -> Float[np.ndarray, 'd d']:
    if self.products is not None:
      return self.products
    return self.vectors.T @ self.vectors


def _gaussian(count, total, products, vectors) -> Gaussian:
  """Lets go of the vectors as soon as there are enough of them."""
  if vectors is not None and count > vectors.shape[1]:
    products, vectors = vectors.T @ vectors, None
  return Gaussian(count, total, products, vectors)


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
  """Returns the distance of two sets of features.

  The trace of the root of the product is the nuclear norm of the product of the
  covariances' factors, which is right, too, where there are fewer vectors than
  dimensions.

  Raises:
    ValueError: one of them has fewer than two vectors.
  """
  first, second = one.factor(), other.factor()
  difference = one.mean() - other.mean()
  return float(
    difference @ difference
    + np.sum(first**2)
    + np.sum(second**2)
    - 2 * _nuclear_norm(first.T @ second)
  )


def _nuclear_norm(matrix: Float[np.ndarray, 'n m']) -> float:
  """Returns the sum of the singular values, sooner than all of them take.

  In the basis of the Gram matrix's eigenvectors, columns are orthogonal but for
  rounding, and the sum of their lengths errs by the square of that angle. It is
  small where columns are long; singular values are found of the short ones.
  """
  if matrix.shape[0] < matrix.shape[1]:
    matrix = matrix.T
  _, axes = np.linalg.eigh(matrix.T @ matrix)
  columns = matrix @ axes
  lengths = np.linalg.norm(columns, axis=0)
  is_short = lengths < _SHORT * lengths.max()
  rest = np.linalg.svd(columns[:, is_short], compute_uv=False)
  return np.sum(lengths[~is_short]) + np.sum(rest)
