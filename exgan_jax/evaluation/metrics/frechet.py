"""The Fréchet distance of two Gaussians, fitted to sets of feature vectors.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a
Local Nash Equilibrium": |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2)).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

# Relative to the longest column. Rounding of its square in float64 is 1e-8 of
# the square of such a length, an angle whose own square is lost in rounding.
_SHORT = 1e-4


@dataclasses.dataclass(frozen=True)
class Gaussian:
  """Mean and covariance of feature vectors, as float64 sums; can be merged.

  Either `products` or `vectors` is None.

  Attributes:
    count: number of vectors.
    total: their sum.
    products: sum of their outer products.
    vectors: the vectors, while there are no more than dimensions; the
      eigenvalues of such a low-rank covariance would be inaccurate.
  """

  count: int
  total: Float[np.ndarray, ' d']
  products: Float[np.ndarray, 'd d'] | None
  vectors: Float[np.ndarray, 'n d'] | None

  @classmethod
  def empty(cls, dimensions: int) -> Gaussian:
    """Returns the state without vectors."""
    return cls(0, np.zeros(dimensions), None, np.zeros((0, dimensions)))

  @classmethod
  def from_values(
    cls, vectors: Float[np.ndarray, 'b d'], counted: Bool[np.ndarray, ' b']
  ) -> Gaussian:
    """Keeps only the counted vectors."""
    kept = np.asarray(vectors, np.float64)[np.asarray(counted)]
    return cls._of(kept.sum(axis=0), kept)

  @classmethod
  def _of(cls, total: np.ndarray, vectors: np.ndarray) -> Gaussian:
    """Replaces the vectors by their products once there are enough."""
    count, dimensions = vectors.shape
    if count > dimensions:
      return cls(count, total, vectors.T @ vectors, None)
    return cls(count, total, None, vectors)

  def merge(self, other: Gaussian) -> Gaussian:
    """Returns the state of both sets."""
    total = self.total + other.total
    if self.vectors is not None and other.vectors is not None:
      both = np.concatenate([self.vectors, other.vectors])
      return self._of(total, both)
    products = self.all_products() + other.all_products()
    return Gaussian(self.count + other.count, total, products, None)

  def mean(self) -> Float[np.ndarray, ' d']:
    """Returns the mean vector.

    Raises:
      ValueError: there are no vectors.
    """
    if not self.count:
      raise ValueError('there are no vectors')
    return self.total / self.count

  def factor(self) -> Float[np.ndarray, 'd k']:
    """Returns a matrix F whose F @ F.T is the covariance.

    Raises:
      ValueError: there are fewer than two vectors.
    """
    if self.count < 2:
      raise ValueError('a covariance needs at least two vectors')
    if self.vectors is not None:
      centered = self.vectors - self.mean()
      return centered.T / np.sqrt(self.count - 1)
    scatter = (
      self.all_products() - np.outer(self.total, self.total) / self.count
    )
    covariance = scatter / (self.count - 1)
    try:
      return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
      # The covariance is singular. This takes ten times as long.
      values, axes = np.linalg.eigh(covariance)
      return axes * np.sqrt(np.maximum(values, 0.0))

  def all_products(self) -> Float[np.ndarray, 'd d']:
    """Returns the sum of the outer products."""
    if self.vectors is not None:
      return self.vectors.T @ self.vectors
    assert self.products is not None
    return self.products


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
  """Returns the distance between two sets of features.

  The trace of the square root is the nuclear norm of the product of the
  covariances' factors, which also holds for fewer vectors than dimensions.

  Raises:
    ValueError: one of the sets has fewer than two vectors.
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
  """Returns the sum of the singular values, faster than an SVD.

  In the basis of the Gram matrix's eigenvectors, columns are orthogonal up to
  rounding, and the sum of their lengths has an error of the square of that
  angle. The angle is small for long columns; the short ones get an SVD.
  """
  if matrix.shape[0] < matrix.shape[1]:
    matrix = matrix.T
  _, axes = np.linalg.eigh(matrix.T @ matrix)
  columns = matrix @ axes
  lengths = np.linalg.norm(columns, axis=0)
  is_short = lengths < _SHORT * lengths.max()
  rest = np.linalg.svd(columns[:, is_short], compute_uv=False)
  return np.sum(lengths[~is_short]) + np.sum(rest)
