"""Bootstrap intervals against theory and against SciPy's."""

import numpy as np
import pytest

from exgan_jax.evaluation.metrics import bootstrap


def test_interval_of_a_mean_is_that_of_theory():
  rng = np.random.default_rng(0)
  values = rng.normal(3, 2, 400)
  low, high = interval = bootstrap.interval(
    values, np.arange(400), bootstrap.weighted_mean
  )
  assert interval == bootstrap.interval(
    values, np.arange(400), bootstrap.weighted_mean
  )
  error = values.std() / 20
  assert low == pytest.approx(values.mean() - 1.96 * error, abs=error / 5)
  assert high == pytest.approx(values.mean() + 1.96 * error, abs=error / 5)


def test_interval_of_a_median_agrees_with_scipy():
  stats = pytest.importorskip('scipy.stats')
  values = np.random.default_rng(1).lognormal(size=301)
  found = bootstrap.interval(values, np.arange(301), bootstrap.weighted_median)
  expected = stats.bootstrap(
    (values,), np.median, n_resamples=1000, method='percentile', rng=0
  ).confidence_interval
  np.testing.assert_allclose(found, expected, rtol=0.03)


def test_pictures_of_a_person_are_drawn_together():
  # Ten people, each with the same value forty times over: as uncertain as ten.
  values = np.repeat(np.random.default_rng(0).normal(size=10), 40)
  people = np.repeat(np.arange(10), 40)
  wide = np.diff(bootstrap.interval(values, people, bootstrap.weighted_mean))
  narrow = np.diff(
    bootstrap.interval(values, np.arange(400), bootstrap.weighted_mean)
  )
  assert 4 < wide / narrow < 9


@pytest.mark.parametrize('counts', [[1, 1, 1, 1], [2, 0, 1, 3], [0, 0, 0, 5]])
def test_weighted_statistics_are_those_of_repeated_values(counts):
  values = np.array([1.0, 2.0, 4.0, 9.0])
  repeated = np.repeat(values, counts)
  counts = np.array(counts)
  assert bootstrap.weighted_mean(values, counts) == repeated.mean()
  assert bootstrap.weighted_median(values, counts) == np.median(repeated)


def test_one_person_has_no_interval():
  values, people = np.arange(5.0), np.zeros(5, int)
  assert bootstrap.interval(values, people, bootstrap.weighted_mean) is None
