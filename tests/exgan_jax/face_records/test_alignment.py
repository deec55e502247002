"""Alignment against the original script's output, and by hand."""

import dataclasses
import json
import math

import cv2
import numpy as np
import pytest

from exgan_jax.face_records import alignment
from exgan_jax.face_records.alignment import Face


def _point(entry, name):
  point = entry.get(name)
  return None if point is None else (point['x'], point['y'])


def _psnr(a, b):
  error = np.mean((a.astype(np.float64) - b) ** 2)
  return 10 * math.log10(255**2 / error)


def test_agrees_with_the_original_script(photographs):
  sample = photographs / 'celeb_id_sample' / 'data'
  aligned = sample / 'celeb_id_aligned'
  expected = {
    entry['filename']: entry
    for entries in json.loads((aligned / 'data.json').read_text()).values()
    for entry in entries
  }
  parameters = json.loads((sample / 'celeb_params.json').read_text())
  assert len(parameters) == len(expected) == 314
  quality = []
  for name, entry in parameters.items():
    face = Face(
      (_point(entry, 'eye_left'), _point(entry, 'eye_right')),
      _point(entry, 'mouth_center'),
      entry['face_x'],
      entry['face_y'],
      entry['face_w'],
      entry['face_h'],
      entry['roll'],
    )
    image = cv2.imread(str(sample / 'celeb_id_raw' / name))
    square, eyes = alignment.align(image, face, 256, one_scale=True)
    for eye, side in zip(eyes, ('eye_left', 'eye_right'), strict=True):
      point = _point(expected[name], side)
      np.testing.assert_array_equal(eye, point or (np.nan, np.nan))
    quality.append(_psnr(square, cv2.imread(str(aligned / name))))
  # The rest is the loss of the JPEG files.
  assert min(quality) > 44 and np.median(quality) > 47


def _dots(size, points):
  image = np.zeros((*size, 3), np.uint8)
  for x, y in points:
    cv2.circle(image, (x, y), 6, (255, 255, 255), -1)
  return image


def _brightest(image, near):
  """Returns the center of the light around a point."""
  light = image[..., 0].astype(np.float64)
  rows, columns = np.indices(light.shape)
  light[np.hypot(columns - near[0], rows - near[1]) > 20] = 0
  return np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum()


@pytest.mark.parametrize('roll', [-25.0, 0.0, 40.0])
def test_levels_the_eyes_and_returns_them(roll):
  angle = np.radians(roll)
  step = 40 * np.array([np.cos(angle), np.sin(angle)])
  left, right = [
    tuple(int(v) for v in np.round(np.array([200, 150]) + sign * step))
    for sign in (-1, 1)
  ]
  image = _dots((320, 420, 3)[:2], [left, right])
  face = Face((left, right), None, 200, 170, 160, 160, roll)
  square, eyes = alignment.align(image, face, 256)
  assert abs(eyes[0, 1] - eyes[1, 1]) <= 2 and eyes[0, 0] < eyes[1, 0]
  for eye in eyes:
    assert np.abs(_brightest(square, eye) - eye).max() < 1.5


def test_matrix_is_the_map_of_the_pictures():
  image = cv2.GaussianBlur(
    np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8),
    (0, 0),
    5,
  )
  image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
  face = Face(((150, 130), (220, 150)), (170, 200), 180, 160, 120, 120, 16)
  square, _ = alignment.align(image, face, 200)
  matrix = alignment.crop_of(face, 400, 300).matrix(200)
  direct = cv2.warpAffine(image, matrix, (200, 200), flags=cv2.INTER_CUBIC)
  assert _psnr(square, direct) > 45
  shifted = matrix + np.array([[0, 0, 0.5], [0, 0, 0]])
  moved = cv2.warpAffine(image, shifted, (200, 200), flags=cv2.INTER_CUBIC)
  assert _psnr(square, moved) < _psnr(square, direct) - 5


def test_corners_follow_the_matrix_without_rounding():
  corners = ((130, 130), (160, 134.5), (200.25, 140), (230, 150))
  face = Face(((145, 130), (215, 150)), (170, 200), 180, 160, 120, 120, 16)
  matrix = alignment.crop_of(face, 400, 300).matrix(200)
  unknown = alignment.corners_in(face, matrix)
  assert unknown.shape == (4, 2) and np.isnan(unknown).all()
  known = dataclasses.replace(face, corners=corners)
  found = alignment.corners_in(known, matrix)
  assert found.dtype == np.float32
  expected = [matrix @ [x, y, 1] for x, y in corners]
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_crop_is_shifted_into_the_picture_and_never_larger():
  at_the_edge = Face((None, None), None, 10, 195, 50, 50, 0)
  crop = alignment.crop_of(at_the_edge, 300, 200)
  assert (crop.left, crop.right, crop.top, crop.bottom) == (0, 60, 140, 200)
  large = Face((None, None), None, 100, 60, 400, 80, 0)
  crop = alignment.crop_of(large, 300, 200)
  assert (crop.left, crop.right, crop.top, crop.bottom) == (0, 300, 12, 108)


@pytest.mark.parametrize(
  ('x', 'width', 'limit', 'expected'),
  [
    # 97.2 px wide: whole pixels are cut off after it was shifted, not before.
    (31, 81, 318, (0, 97)),
    (241, 81, 269, (171, 269)),
    (150, 81, 300, (101, 198)),
  ],
)
def test_crop_of_an_odd_width(x, width, limit, expected):
  face = Face((None, None), None, x, 200, width, 100, 0)
  crop = alignment.crop_of(face, limit, 400)
  assert (crop.left, crop.right) == expected


def test_scales_of_a_stretched_square():
  face = Face(((100, 50), (200, 50)), (150, 60), 0, 0, 400, 100, 0)
  image = np.zeros((200, 300, 3), np.uint8)
  _, eyes = alignment.align(image, face, 240)
  np.testing.assert_array_equal(eyes[:, 0], [80, 160])
  _, original = alignment.align(image, face, 240, one_scale=True)
  np.testing.assert_array_equal(original[:, 0], [200, 400])


def test_a_face_without_area_is_refused():
  face = Face((None, None), None, 10, 10, 0, 0, 0)
  with pytest.raises(ValueError, match='empty'):
    alignment.align(np.zeros((50, 50, 3), np.uint8), face)


def test_boxes_follow_from_the_name_and_have_the_published_distribution():
  boxes = np.stack(
    [alignment.draw_boxes(f'somebody-{i}.jpg', 256) for i in range(4000)]
  )
  again = alignment.draw_boxes('somebody-7.jpg', 256)
  np.testing.assert_array_equal(boxes[7], again)
  assert boxes.min() == 48 and boxes.max() == 96
  np.testing.assert_array_equal(boxes, np.trunc(boxes))
  assert abs(boxes.mean() - 57) < 0.5
  assert abs((boxes == 48).mean() - 0.5) < 0.02
  assert abs(boxes.prod(axis=-1).sum(axis=-1).mean() / 256**2 - 0.1) < 0.005
  assert abs(np.corrcoef(boxes.reshape(-1, 4).T)[0, 1:]).max() < 0.05


def test_boxes_scale_with_the_picture():
  large = alignment.draw_boxes('somebody-1.jpg', 512)
  small = alignment.draw_boxes('somebody-1.jpg', 128)
  assert np.abs(large / 4 - small).max() <= 1
