"""Values of images: mean, median, order."""

import numpy as np
import pytest

from exgan_jax.evaluation.metrics import Rows


def _state(values, counted=None, start=0):
  values = np.asarray(values, np.float32)
  rows = np.arange(start, start + len(values))
  counted = np.ones(len(values), bool) if counted is None else counted
  return Rows.from_values(rows, values, np.asarray(counted))


def test_mean_and_median_by_hand():
  one, other = _state([1, 2, 30]), _state([0.5, 7, 9], start=3)
  assert one.mean() == 11 and one.median() == 2
  both = one.merge(other)
  # Neither the mean of the medians nor their median.
  assert both.median() == 4.5
  assert both.mean() == pytest.approx(49.5 / 6, rel=1e-15)


def test_not_a_bit_depends_on_batches_or_their_order():
  rng = np.random.default_rng(0)
  values = rng.lognormal(0, 8, 1000).astype(np.float32)
  whole = _state(values)
  rows = rng.permutation(1000)
  state = Rows()
  for part in np.array_split(rows, 77):
    new = Rows.from_values(part, values[part], np.ones(len(part), bool))
    state = new.merge(state)
  assert state.mean() == whole.mean() == values.mean(dtype=np.float64)
  assert state.median() == whole.median()
  np.testing.assert_array_equal(state.ordered()[0], np.arange(1000))


def test_what_is_not_counted_adds_nothing_even_as_nan():
  state = _state([0.5, np.nan, 0.25], [True, False, True])
  assert state.mean() == 0.375 and len(state) == 2
  assert state.ordered()[0].tolist() == [0, 2]


def test_nan_among_the_counted_shows():
  state = _state([0.5, np.nan, 1.0])
  assert np.isnan(state.mean()) and np.isnan(state.median())


@pytest.mark.parametrize('length', [0, 2])
def test_no_values_have_no_mean(length):
  state = _state(np.ones(length), np.zeros(length, bool)).merge(Rows())
  assert state.mean() is None and state.median() is None
  with pytest.raises(ValueError, match='there are no values'):
    state.ordered()
