"""L1 by hand, and its exact sums."""

import jax
import numpy as np
import pytest

from exgan_jax.evaluation import metrics


def _pictures(shape, seed=0):
  rng = np.random.default_rng(seed)
  original, result = rng.integers(0, 256, (2, *shape), np.uint8)
  return original, result, rng.random((*shape[:3], 1)) < 0.3


def test_l1_by_hand():
  original = np.full((2, 2, 2, 3), 255, np.uint8)
  result = original.copy()
  result[0, 0, 0] = (102, 204, 153)  # (0.6 + 0.2 + 0.4) / 12
  result[1] = 0
  for pictures in ((original, result), (result, original)):
    np.testing.assert_allclose(
      metrics.l1_per_image(*pictures), [0.1, 1.0], rtol=1e-6
    )


def test_l1_hole_by_hand():
  original = np.full((3, 2, 2, 3), 102, np.uint8)
  result = original.copy()
  result[0, 0, 0] = (204, 102, 102)  # in a hole of one pixel: 0.4 / 3
  result[0, 1, 1] = 0  # known, so of no account
  result[1, 0] = 51  # half of the hole of four pixels: 0.2 / 2
  result[2] = 0  # no hole
  mask = np.zeros((3, 2, 2, 1), bool)
  mask[0, 0, 0] = mask[1] = True
  np.testing.assert_allclose(
    metrics.l1_hole_per_image(original, result, mask),
    [0.4 / 3, 0.1, 0.0],
    rtol=1e-6,
  )


@pytest.mark.parametrize('batch_size', [1, 3, 4, 11, 16])
def test_not_a_bit_depends_on_the_batch_size(batch_size):
  original, result, mask = _pictures((11, 6, 5, 3))
  mask[6] = False
  error = np.abs(original.astype(float) - result) * mask / 255
  pixels = 3 * mask.sum((1, 2, 3))
  expected = np.delete(error.sum((1, 2, 3)) / np.maximum(pixels, 1), 6).mean()
  step = jax.jit(metrics.l1_hole_per_image)
  total = metrics.Rows()
  for start in range(0, 11, batch_size):
    rows = np.arange(start, start + batch_size)
    batch = [array[rows % 11] for array in (original, result, mask)]
    counted = (rows < 11) & batch[2].any(axis=(1, 2, 3))
    total = total.merge(metrics.Rows.from_values(rows, step(*batch), counted))
  assert len(total) == 10
  assert total.mean() == pytest.approx(expected, rel=1e-7)
  counted = mask.any(axis=(1, 2, 3))
  at_once = step(original, result, mask)
  whole = metrics.Rows.from_values(np.arange(11), at_once, counted)
  assert total.mean() == whole.mean()


@pytest.mark.parametrize('shape', [(1, 512, 512, 3), (1, 4, 70_000, 3)])
def test_large_pictures_are_summed_exactly(shape):
  original, result, _ = _pictures(shape)
  error = np.abs(original.astype(np.int64) - result).mean() / 255
  assert metrics.l1_per_image(original, result)[0] == pytest.approx(
    error, rel=1e-6
  )


def test_the_sum_of_a_photograph_does_not_overflow():
  # 24 million pixels of the largest error there is: more than 32 bits hold.
  original = np.zeros((1, 4000, 6000, 3), np.uint8)
  result = np.full_like(original, 255)
  assert metrics.l1_per_image(original, result)[0] == pytest.approx(1, rel=1e-6)
