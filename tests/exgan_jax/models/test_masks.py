"""Masks, crops and composites against loops over pixels."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax.models import masks

SIDE = 16
# Plain, odd-sized, overlapping, over a border, outside, without area.
CASES = {
  'plain': ([[4, 8], [11, 8]], [[4, 6], [6, 4]]),
  'odd': ([[4, 8], [11, 7]], [[5, 3], [3, 7]]),
  'fractions': ([[4.5, 8.25], [10.75, 7.5]], [[4.5, 3.5], [5, 6.25]]),
  'overlap': ([[7, 8], [9, 9]], [[6, 6], [6, 6]]),
  'border': ([[0, 0], [15, 15]], [[6, 6], [7, 9]]),
  'outside': ([[-9, 4], [40, 4]], [[6, 6], [6, 6]]),
  'empty': ([[4, 8], [11, 8]], [[0, 6], [0, 0]]),
}
EYES = {
  'inside': [[5, 6], [11, 6]],
  'corners': [[0, 0], [15, 15]],
  'over the border': [[-3, 4], [18, 4]],
  'far outside': [[-90, 9], [-90, 9]],
  'below and beside': [[5, 90], [90, 5]],
  'overlapping': [[6, 7], [9, 8]],
  'fractions': [[4.5, 6.25], [10.75, 9]],
}


def _loop_mask(eyes, boxes):
  mask = np.zeros((SIDE, SIDE, 1), np.float32)
  for (x, y), (w, h) in zip(eyes, boxes, strict=True):
    for row in range(SIDE):
      for column in range(SIDE):
        in_columns = x - w / 2 <= column < x + w / 2
        if in_columns and y - h / 2 <= row < y + h / 2:
          mask[row, column] = 1
  return mask


@pytest.mark.parametrize('eyes, boxes', CASES.values(), ids=CASES)
def test_hole_masks_match_a_loop_over_pixels(eyes, boxes):
  got = masks.hole_masks(
    jnp.asarray([eyes], jnp.float32), jnp.asarray([boxes], jnp.float32), SIDE
  )
  np.testing.assert_array_equal(got[0], _loop_mask(eyes, boxes))


def test_composite_keeps_known_pixels_next_to_nan():
  image = jnp.ones((1, 4, 4, 3))
  mask = jnp.zeros((1, 4, 4, 1)).at[0, 1, 2].set(1.0)
  painted = jnp.full((1, 4, 4, 3), jnp.nan).at[0, 1, 2].set(0.5)
  got = np.asarray(masks.composite(image, painted, mask))
  expected = np.ones((1, 4, 4, 3))
  expected[0, 1, 2] = 0.5
  np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize('eyes', EYES.values(), ids=EYES)
def test_eye_crops_are_exact_at_the_border(eyes):
  side = 8
  rng = np.random.default_rng(0)
  image = rng.uniform(1, 2, (1, SIDE, SIDE, 3)).astype(np.float32)
  got = masks.eye_crops(
    jnp.asarray(image), jnp.asarray([eyes], jnp.float32), side
  )
  expected = np.zeros((1, 2, side, side, 3), np.float32)
  for eye, (x, y) in enumerate(eyes):
    for row in range(side):
      for column in range(side):
        r = math.ceil(y) - side // 2 + row
        c = math.ceil(x) - side // 2 + column
        if 0 <= r < SIDE and 0 <= c < SIDE:
          expected[0, eye, row, column] = image[0, r, c]
  np.testing.assert_array_equal(got, expected)


LIDS = {
  'level': [(3, 8), (6, 8), (10, 8), (13, 8)],
  'turned': [(3, 4), (6, 6.5), (9.5, 9), (13, 12.25)],
  'over the border': [(-4, 1), (0, 1), (6, 0), (11, 0)],
  'at one place': [(7, 7)] * 4,
}


@pytest.mark.parametrize('corners', LIDS.values(), ids=LIDS)
@pytest.mark.parametrize('axes', [(0.31, 0.21), (0.2, 0.5), (0.0, 0.0)])
def test_lid_masks_match_a_loop_over_pixels(corners, axes):
  got = masks.lid_masks(jnp.float32([corners]), jnp.float32([axes]), SIDE)
  points = [complex(*corner) for corner in corners]
  unit = max(abs(points[3] - points[0]), 1e-3)
  # Corners at one place mark no more than that.
  along = (points[3] - points[0]) / unit or 1
  expected = np.zeros((2, SIDE, SIDE))
  for eye in (0, 1):
    center = (points[2 * eye] + points[2 * eye + 1]) / 2
    for row in range(SIDE):
      for column in range(SIDE):
        # Turned back, the line of the corners is the real axis.
        offset = (complex(column, row) - center) * along.conjugate() / unit
        a, b = (max(axis, 1e-3 / unit) for axis in axes)
        inside = (offset.real / a) ** 2 + (offset.imag / b) ** 2 < 1
        expected[eye, row, column] = inside
  np.testing.assert_array_equal(got[0], expected)


@pytest.mark.parametrize('eyes', EYES.values(), ids=EYES)
def test_pasting_what_was_cut_changes_nothing(eyes):
  rng = np.random.default_rng(0)
  image = rng.uniform(1, 2, (2, SIDE, SIDE, 3)).astype(np.float32)
  eyes = jnp.asarray([eyes, eyes[::-1]], jnp.float32)
  crops = masks.eye_crops(jnp.asarray(image), eyes, 8)
  got = masks.paste_crops(jnp.asarray(image), eyes, crops)
  np.testing.assert_array_equal(got, image)


@pytest.mark.parametrize('eyes', EYES.values(), ids=EYES)
def test_pasted_crops_match_a_loop_over_pixels(eyes):
  side = 8
  rng = np.random.default_rng(0)
  image = rng.uniform(1, 2, (2, SIDE, SIDE, 3)).astype(np.float32)
  crops = rng.uniform(-2, -1, (2, 2, side, side, 3)).astype(np.float32)
  both = [eyes, eyes[::-1]]
  expected = image.copy()
  for picture in range(2):
    for eye, (x, y) in enumerate(both[picture]):  # The right one over the left.
      for row in range(side):
        for column in range(side):
          r = math.ceil(y) - side // 2 + row
          c = math.ceil(x) - side // 2 + column
          if 0 <= r < SIDE and 0 <= c < SIDE:
            expected[picture, r, c] = crops[picture, eye, row, column]
  got = masks.paste_crops(
    jnp.asarray(image), jnp.asarray(both, jnp.float32), jnp.asarray(crops)
  )
  np.testing.assert_array_equal(got, expected)


def test_cutting_what_was_pasted_gives_it_back():
  eyes = jnp.asarray([EYES['inside']], jnp.float32)
  crops = jnp.asarray(np.random.default_rng(0).random((1, 2, 6, 6, 3)))
  pasted = masks.paste_crops(jnp.zeros((1, SIDE, SIDE, 3)), eyes, crops)
  np.testing.assert_array_equal(masks.eye_crops(pasted, eyes, 6), crops)
  assert int((pasted > 0).sum()) == crops.size


@pytest.mark.parametrize('resolution', [32, 64, 96, 128, 160, 256])
def test_a_crop_contains_the_largest_box(resolution):
  rng = np.random.default_rng(resolution)
  eyes = rng.uniform(0.3, 0.7, (8, 2, 2)) * resolution
  eyes[:, 1] = eyes[:, 0]
  eyes = jnp.asarray(eyes, jnp.float32)
  boxes = jnp.full((8, 2, 2), 96 / 256 * resolution, jnp.float32)
  hole = masks.hole_masks(eyes, boxes, resolution)
  crops = masks.eye_crops(hole, eyes, masks.crop_side(resolution))
  np.testing.assert_array_equal(
    crops.sum(axis=(2, 3, 4)), jnp.stack([hole.sum(axis=(1, 2, 3))] * 2, axis=1)
  )


def test_nearness_is_a_gaussian():
  near = masks.nearness(jnp.asarray([[[5.0, 6.0], [14.0, 6.0]]]), 20)
  assert near.shape == (1, 20, 20, 1)
  field = np.asarray(near)[0, ..., 0]
  assert field[6, 5] == field[6, 14] == 1.0
  # One standard deviation is a pixel at this size.
  for row, column in ((6, 4), (5, 5), (7, 5), (6, 15)):
    np.testing.assert_allclose(field[row, column], np.exp(-0.5), rtol=1e-6)
  assert field[19].max() < 1e-6
