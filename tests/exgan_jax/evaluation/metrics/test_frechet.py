"""The Fréchet distance against formulas, and as a mergeable state."""

import functools

import numpy as np
import pytest

from exgan_jax.evaluation.metrics.frechet import Gaussian, frechet_distance


def _gaussian(vectors, parts=1):
  pieces = np.array_split(vectors, parts)
  states = [Gaussian.from_values(p, np.ones(len(p), bool)) for p in pieces]
  return functools.reduce(
    Gaussian.merge, states, Gaussian.empty(vectors.shape[1])
  )


def _samples(count, dimensions, seed=0):
  rng = np.random.default_rng(seed)
  mix = rng.normal(size=(dimensions, dimensions)) / np.sqrt(dimensions)
  return rng.normal(size=(count, dimensions)) @ mix


def test_of_independent_dimensions_by_hand():
  # Two points a dimension, so that variances are known: 2, 8 and 18, 32.
  corners = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], float)
  one = corners * np.sqrt([2, 8]) * np.sqrt(3 / 4)
  other = corners * np.sqrt([18, 32]) * np.sqrt(3 / 4) + [3, 4]
  # |m|^2 is 25; (sqrt 2 - sqrt 18)^2 is 8, (sqrt 8 - sqrt 32)^2 is 8.
  found = frechet_distance(_gaussian(one), _gaussian(other))
  assert found == pytest.approx(41, rel=1e-12)


# What scipy 1.17.1 gives: numpy.cov, then scipy.linalg.sqrtm of the product of
# the covariances, for these samples.
@pytest.mark.parametrize(
  ('count', 'dimensions', 'scipy'),
  [(500, 64, 37.43612958612555), (3000, 8, 3.0228935383255098)],
)
def test_agrees_with_scipy(count, dimensions, scipy):
  one = _samples(count, dimensions)
  other = 1.1 * _samples(count, dimensions, seed=1) + 0.1
  found = frechet_distance(_gaussian(one), _gaussian(other))
  assert found == pytest.approx(scipy, rel=1e-6)


def test_fewer_vectors_than_dimensions():
  # Rank-deficient covariances whose root is known: along one axis only.
  one = np.zeros((3, 50))
  one[:, 0] = [-1, 0, 1]
  other = np.zeros((3, 50))
  other[:, 0] = [-3, 0, 3]
  other[:, 1] = 2
  found = frechet_distance(_gaussian(one), _gaussian(other))
  assert found == pytest.approx(4 + (1 - 3) ** 2, rel=1e-12)


@pytest.mark.parametrize('ratio', [1.0, 1e-2, 1e-4, 1e-8, 0.0])
def test_of_a_wide_spectrum(ratio):
  # With no ratio, half of the dimensions depend on the other half.
  scales = np.geomspace(1, ratio or 1e-4, 64)
  scales[32:] *= bool(ratio)
  rng = np.random.default_rng(0)
  turns = [np.linalg.qr(rng.normal(size=(64, 64)))[0] for _ in range(2)]
  samples = [rng.normal(size=(500, 64)) * scales @ turn for turn in turns]
  one, other = map(_gaussian, samples)
  same, double = _gaussian(samples[0], parts=7), _gaussian(2 * samples[0])
  assert abs(frechet_distance(one, same)) < 1e-11

  means = [each.mean(axis=0) for each in samples]
  covariances = [np.cov(each, rowvar=False) for each in samples]
  # That of a Gaussian and its double is its own variance.
  expected = means[0] @ means[0] + np.trace(covariances[0])
  assert frechet_distance(one, double) == pytest.approx(expected, rel=1e-12)

  roots = []
  for covariance in covariances:
    values, axes = np.linalg.eigh(covariance)
    roots.append(axes * np.sqrt(np.maximum(values, 0)) @ axes.T)
  singular = np.linalg.svd(roots[0] @ roots[1], compute_uv=False)
  difference = means[0] - means[1]
  expected = difference @ difference - 2 * np.sum(singular)
  expected += sum(np.trace(covariance) for covariance in covariances)
  assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize('count', [30, 200])
def test_does_not_depend_on_batches(count):
  one, other = _samples(count, 48), _samples(count, 48, seed=1)
  whole = frechet_distance(_gaussian(one), _gaussian(other))
  for parts in (2, 7, count):
    found = frechet_distance(_gaussian(one, parts), _gaussian(other, parts))
    assert found == pytest.approx(whole, abs=1e-9)


def test_counts_only_what_counts():
  samples = _samples(20, 4)
  counted = np.arange(20) % 3 > 0
  padded = np.where(counted[:, None], samples, np.nan)
  state = Gaussian.from_values(padded, counted)
  assert state.count == 13
  np.testing.assert_allclose(state.mean(), samples[counted].mean(axis=0))
  factor = state.factor()
  np.testing.assert_allclose(
    factor @ factor.T, np.cov(samples[counted], rowvar=False), rtol=1e-9
  )


@pytest.mark.parametrize('count', [0, 1])
def test_takes_two_vectors(count):
  with pytest.raises(ValueError):
    frechet_distance(_gaussian(_samples(count, 4)), _gaussian(_samples(9, 4)))
