"""Baselines by hand, pixel by pixel."""

import numpy as np
import pytest

from exgan_jax.evaluation import baselines


def _noise(*shape, seed=0):
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def _hole(size, eyes, boxes):
  """The masks' convention, pixel by pixel."""
  hole = np.zeros((size, size), bool)
  for (ex, ey), (w, h) in zip(eyes, boxes, strict=True):
    for y in range(size):
      for x in range(size):
        hole[y, x] |= (
          ex - w / 2 <= x < ex + w / 2 and ey - h / 2 <= y < ey + h / 2
        )
  return hole


def _paste(image, eyes, boxes, reference, reference_eyes, reference_boxes):
  eyes, boxes, reference_eyes, reference_boxes = (
    np.array(a, np.float32)
    for a in (eyes, boxes, reference_eyes, reference_boxes)
  )
  hole = _hole(len(image), eyes, boxes)
  result = baselines.reference_paste(
    image, boxes, eyes, reference, reference_eyes, reference_boxes, hole
  )
  assert result.dtype == np.uint8
  np.testing.assert_array_equal(result[~hole], image[~hole])
  return result, hole


def test_mean_fill_by_hand():
  image = np.array(
    [[[10, 0, 255], [13, 1, 254]], [[99, 99, 99], [12, 1, 255]]], np.uint8
  )
  mask = np.array([[0, 0], [1, 0]], np.uint8)
  result = baselines.mean_fill(image, mask)
  # 35/3, 2/3, 764/3, rounded; the 99s are hidden.
  np.testing.assert_array_equal(result[1, 0], [12, 1, 255])
  np.testing.assert_array_equal(result[mask == 0], image[mask == 0])
  assert image[1, 0, 0] == 99


def test_mean_fill_without_known_pixels():
  image = _noise(4, 4, 3)
  assert not baselines.mean_fill(image, np.ones((4, 4), bool)).any()


@pytest.mark.parametrize('value', [0, 77, 255])
def test_telea_reproduces_a_constant_picture(value):
  image = np.full((24, 24, 3), value, np.uint8)
  image[..., 1] //= 2
  mask = np.zeros((24, 24), bool)
  mask[4:12, 3:10] = True
  mask[15:, 18:] = True  # touches the border
  holed = np.where(mask[..., None], _noise(24, 24, 3), image)
  result = baselines.telea(holed, mask)
  # OpenCV's rounding wanders by a few levels, even on flat ground.
  np.testing.assert_allclose(np.int16(result), np.int16(image), atol=4)


def test_telea_keeps_known_pixels_and_sees_no_hidden_ones():
  image = _noise(24, 24, 3)
  mask = np.zeros((24, 24), np.uint8)
  mask[4:12, 3:10] = 255
  mask[0:5, 18:] = 255
  result = baselines.telea(image, mask)
  known = mask == 0
  np.testing.assert_array_equal(result[known], image[known])
  other = np.where(known[..., None], image, 255 - image)
  np.testing.assert_array_equal(baselines.telea(other, mask), result)


def test_paste_of_equal_boxes_copies_pixels():
  image, reference = _noise(12, 12, 3), _noise(12, 12, 3, seed=1)
  # x: 1.5 <= x < 4.5 is 2, 3, 4; y: 2 <= y < 6 is 2 to 5.
  boxes = [(3, 4), (2, 2)]
  result, hole = _paste(
    *(image, [(3, 4), (8, 4)], boxes),
    *(reference, [(5, 6), (9.5, 9.5)], boxes),
  )
  np.testing.assert_array_equal(result[2:6, 2:5], reference[4:8, 4:7])
  np.testing.assert_array_equal(result[3:5, 7:9], reference[9:11, 9:11])
  assert hole.sum() == 12 + 4


def test_paste_resizes_by_hand():
  image, reference = np.zeros((2, 8, 8, 3), np.uint8)
  reference[2, 2:4] = [[100], [200]]  # the left eye: 2 x 1 pixels, widened to 4
  reference[4:6, 4:6] = [[[40], [80]], [[120], [160]]]  # the right one, to 1
  result, _ = _paste(
    *(image, [(2, 1), (6, 6)], [(4, 1), (1, 1)]),
    *(reference, [(3, 2), (5, 5)], [(2, 1), (2, 2)]),
  )
  np.testing.assert_array_equal(result[1, 0:4, 0], [100, 125, 175, 200])
  np.testing.assert_array_equal(result[6, 6], [100, 100, 100])


def test_paste_clips_boxes_that_leave_either_image():
  image, reference = _noise(10, 10, 3), _noise(10, 10, 3, seed=1)
  # Columns -2 to 3 of rows 6 to 11; from columns 7 to 12 of rows 1 to 6.
  boxes = [(6, 6), (6, 6)]
  result, hole = _paste(
    *(image, [(1, 9), (30, 5)], boxes),
    *(reference, [(10, 4), (5, 5)], boxes),
  )
  expected = image.copy()
  # Padded by the last column.
  expected[6:10, 0:4] = reference[1:5, 9:].repeat(4, axis=1)
  assert hole.sum() == 16  # The right eye is outside.
  np.testing.assert_array_equal(result, expected)


def test_paste_fills_what_no_box_covers_with_the_mean():
  image, reference = _noise(8, 8, 3), _noise(8, 8, 3, seed=1)
  eyes = np.array([(2, 2), (6, 2)], np.float32)
  boxes = np.array([(2, 2), (2, 2)], np.float32)
  reference_eyes = np.array([(np.nan, np.nan), (4, 4)], np.float32)
  hole = _hole(8, eyes, boxes)
  hole[7, 7] = True
  result = baselines.reference_paste(
    image, boxes, eyes, reference, reference_eyes, boxes, hole
  )
  expected = baselines.mean_fill(image, hole)
  expected[1:3, 5:7] = reference[3:5, 3:5]
  np.testing.assert_array_equal(result, expected)


def test_paste_covers_any_hole_of_the_masks():
  rng = np.random.default_rng(5)
  white = np.full((16, 16, 3), 255, np.uint8)
  for _ in range(50):
    eyes, reference_eyes = rng.uniform(-2, 18, (2, 2, 2))
    boxes, reference_boxes = rng.uniform(1, 9, (2, 2, 2))
    result, hole = _paste(
      *(0 * white, eyes, boxes), *(white, reference_eyes, reference_boxes)
    )
    assert (result[hole] == 255).all()


def _batch():
  pairs = {
    'eyes': [(4, 6), (11, 6)],
    'boxes': [(5, 4), (6, 3)],
    'reference_eyes': [(5, 7), (12, 7)],
    'reference_boxes': [(4, 4), (4, 4)],
    'corners': np.full((4, 2), np.nan),
    'reference_corners': np.full((4, 2), np.nan),
  }
  return {
    'image': _noise(3, 16, 16, 3),
    'reference': _noise(3, 16, 16, 3, seed=1),
    'valid': np.array([True, False, True]),
    **{name: np.array([x] * 3, np.float32) for name, x in pairs.items()},
  }


@pytest.mark.parametrize('name', baselines.BASELINES)
def test_batches_are_processed_image_by_image(name):
  batch = _batch()
  before = {key: value.copy() for key, value in batch.items()}
  hole = _hole(16, batch['eyes'][0], batch['boxes'][0])
  result = baselines.BASELINES[name](batch, np.stack([hole] * 3))
  assert result.shape == (3, 16, 16, 3) and result.dtype == np.uint8
  for key, value in batch.items():
    np.testing.assert_array_equal(value, before[key])
  np.testing.assert_array_equal(result[1], batch['image'][1])
  np.testing.assert_array_equal(result[:, ~hole], batch['image'][:, ~hole])
  for i in (0, 2):
    one = {key: value[i : i + 1] for key, value in batch.items()}
    alone = baselines.BASELINES[name](one, hole[None])[0]
    np.testing.assert_array_equal(result[i], alone)
    assert (alone[hole] != batch['image'][i][hole]).any()


def _views(turn=0.0, light=(0.0, 0.0, 0.0), corners=True):
  """Returns a batch of a pattern and a rotated, relit view of it."""
  rows, columns = np.mgrid[:64, :64]
  eyes = np.array([(20.0, 30.0), (44.0, 30.0)])
  points = np.array([(15.0, 30), (25, 30), (39, 30), (49, 30)])
  middle = np.array([32.0, 30.0])
  angle = np.radians(turn)
  matrix = np.array(
    [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
  )

  def pattern(x, y):
    waves = [np.sin(x / 5), np.cos(y / 6), np.sin((x + y) / 7)]
    return 128 + 60 * np.stack(waves, axis=-1)

  # Where the reference's pixels are in the image.
  places = np.stack([columns, rows], axis=-1) - middle
  there = places @ matrix + middle
  batch = {
    'image': pattern(columns, rows),
    'reference': pattern(there[..., 0], there[..., 1]) + np.array(light),
  }
  batch = {k: np.round(v).astype(np.uint8)[None] for k, v in batch.items()}
  boxes = np.array([[(14, 10)] * 2], np.float32)
  batch |= {'boxes': boxes, 'reference_boxes': boxes, 'valid': np.ones(1, bool)}
  for name, found in (('eyes', eyes), ('corners', points)):
    batch[name] = found[None].astype(np.float32)
    moved = (found - middle) @ matrix.T + middle
    batch[f'reference_{name}'] = moved[None].astype(np.float32)
  if not corners:
    batch['corners'] = batch['corners'] + np.float32(np.nan)
  return batch, _hole(64, eyes, boxes[0])[None]


@pytest.mark.parametrize('corners', [True, False])
@pytest.mark.parametrize('turn', [0, 20, -90])
def test_a_clone_of_another_view_fits_in(turn, corners):
  batch, hole = _views(turn, light=(30, -20, 10), corners=corners)
  result = baselines.reference_clone(batch, hole)
  assert result.dtype == np.uint8
  np.testing.assert_allclose(result.astype(int), batch['image'], atol=4)
  np.testing.assert_array_equal(result[~hole], batch['image'][~hole])
  batch['image'][hole] = 0
  np.testing.assert_array_equal(
    baselines.reference_clone(batch, hole)[hole], result[hole]
  )
