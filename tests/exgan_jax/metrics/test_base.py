import numpy as np
import pytest

from exgan_jax import metrics


def test_median_of_merged_states_is_that_of_all_values():
  # Neither the median of the medians nor the mean.
  counted = np.ones(3, bool)
  one = metrics.Median.from_values(np.float32([1, 2, 30]), counted)
  other = metrics.Median.from_values(np.float32([0.5, 7, 9]), counted)
  assert one.compute() == 2.0
  assert one.merge(other).compute() == other.merge(one).compute() == 4.5
  assert metrics.Median().merge(one) == one


def test_median_leaves_out_what_is_not_counted_even_nan():
  values = np.float32([[4.0, np.nan], [1.0, 100.0]])
  state = metrics.Median.from_values(values, np.isfinite(values))
  assert state == metrics.Median((4.0, 1.0, 100.0))
  assert state.compute() == 4.0


def test_nan_among_the_counted_shows_in_the_median():
  state = metrics.Median.from_values(
    np.float32([0.5, np.nan, 1.0]), np.ones(3, bool)
  )
  assert np.isnan(state.compute())


@pytest.mark.parametrize('length', [0, 2])
def test_no_values_have_no_median(length):
  nothing = metrics.Median.from_values(
    np.ones(length, np.float32), np.zeros(length, bool)
  )
  assert nothing == metrics.Median()
  assert nothing.merge(metrics.Median()).compute() is None
