import jax
import numpy as np
import pytest

from exgan_jax import metrics


def _pictures(count, seed=0):
  rng = np.random.default_rng(seed)
  original, result = rng.random((2, count, 6, 5, 3), dtype=np.float32)
  mask = (rng.random((count, 6, 5, 1)) < 0.3).astype(np.float32)
  return original, result, mask


def test_l1_by_hand():
  original = np.zeros((2, 2, 2, 3), np.float32)
  result = original.copy()
  result[0, 0, 0] = (0.6, 0.3, 0.3)  # 1.2 over 12 values
  result[1] = 1.0
  np.testing.assert_allclose(
    metrics.l1_per_image(original, result), [0.1, 1.0], rtol=1e-6
  )


def test_l1_hole_by_hand():
  original = np.full((3, 2, 2, 3), 0.5, np.float32)
  result = original.copy()
  result[0, 0, 0] = (0.8, 0.5, 0.5)  # in a hole of one pixel: 0.3 / 3
  result[0, 1, 1] = 0.0  # known, so of no account
  result[1, 0] = 0.25  # half of the hole of four pixels: 0.25 / 2
  result[2] = 0.0  # no hole
  mask = np.zeros((3, 2, 2, 1), np.float32)
  mask[0, 0, 0] = 1
  mask[1] = 1
  np.testing.assert_allclose(
    metrics.l1_hole_per_image(original, result, mask),
    [0.1, 0.125, 0.0],
    rtol=1e-6,
  )
  np.testing.assert_array_equal(metrics.has_hole(mask), [True, True, False])


def test_the_mean_weighs_pictures_not_pixels():
  # The mean of the pictures' means, not the 0.12 of their five hole pixels.
  values, has_hole = (
    np.float32([0.1, 0.125, 0.0]),
    np.array([True, True, False]),
  )
  state = metrics.Mean.from_values(values, has_hole)
  assert state.count == 2
  assert state.compute() == pytest.approx(0.1125, rel=1e-6)


def test_rows_that_are_not_counted_add_nothing_even_as_nan():
  values = np.float32([0.5, np.nan, 0.25])
  state = metrics.Mean.from_values(values, np.array([True, False, True]))
  assert state == metrics.Mean(0.75, 2)


def test_nan_in_a_counted_row_shows():
  state = metrics.Mean.from_values(np.float32([0.5, np.nan]), np.ones(2, bool))
  assert np.isnan(state.compute())


@pytest.mark.parametrize('batch_size', [1, 3, 4, 11, 16])
def test_every_batch_size_gives_the_same(batch_size):
  original, result, mask = _pictures(11)
  mask[6] = 0
  error = np.abs(original - result).astype(np.float64) * mask
  pixels = 3 * mask.sum((1, 2, 3))
  expected = np.delete(error.sum((1, 2, 3)) / np.maximum(pixels, 1), 6).mean()
  step = jax.jit(metrics.l1_hole_per_image)
  total = metrics.Mean()
  for start in range(0, 11, batch_size):
    rows = np.arange(start, start + batch_size)
    batch = [array[rows % 11] for array in (original, result, mask)]
    counted = (rows < 11) & np.asarray(metrics.has_hole(batch[2]))
    total = total.merge(metrics.Mean.from_values(step(*batch), counted))
  assert total.count == 10
  assert total.compute() == pytest.approx(expected, rel=1e-7)


def test_sums_are_float64():
  many = metrics.Mean.from_values(
    np.full(2, 2**25, np.float32), np.ones(2, bool)
  )
  one = metrics.Mean.from_values(np.ones(1, np.float32), np.ones(1, bool))
  assert many.merge(one).total == 2**26 + 1


def test_no_pictures_have_no_mean():
  assert metrics.Mean().compute() is None


def test_large_picture_is_summed_exactly_enough():
  original = np.zeros((1, 512, 512, 3), np.float32)
  result = np.random.default_rng(0).random(original.shape, dtype=np.float32)
  value = metrics.l1_per_image(original, result)[0]
  assert value == pytest.approx(result.mean(dtype=np.float64), rel=1e-6)
