"""Patches: where they are, how they fade, and what they do to colors."""

import cv2
import numpy as np
import pytest

from exgan_jax.photo import blending

SIDE = 64
EYES = np.float32([[20, 30], [44, 30]])
BOXES = np.float32([[16, 12], [18, 14]])


def _painted():
  return np.random.default_rng(0).random((SIDE, SIDE, 3), np.float32)


def _patch(painted, matrix, size, eyes=EYES):
  return blending.patch_of(painted, eyes, BOXES, np.array(matrix), size)


def test_in_place_colors_are_the_squares_own():
  painted = _painted()
  patch = _patch(painted, [[1.0, 0, 0], [0, 1, 0]], (SIDE, SIDE))
  height, width = patch.opacity.shape
  part = painted[patch.top : patch.top + height]
  part = part[:, patch.left : patch.left + width]
  np.testing.assert_allclose(patch.colors, part, atol=1e-6)


@pytest.mark.parametrize('roll', [0, 30, 90, 200])
@pytest.mark.parametrize('scale', [0.4, 1.0, 3.3])
def test_nothing_outside_the_boxes_is_touched(roll, scale):
  # The square lies somewhere in a photograph, turned and larger or smaller.
  size = (300, 400)
  matrix = cv2.getRotationMatrix2D((200, 150), roll, 1 / scale)
  matrix[:, 2] += SIDE / 2 - np.array([200, 150])
  patch = _patch(_painted(), matrix, size)
  rows, columns = np.nonzero(patch.opacity)
  points = np.stack([columns + patch.left, rows + patch.top])
  there = (matrix[:, :2] @ points + matrix[:, 2:]).T
  inside = np.zeros(len(there), bool)
  for eye, box in zip(EYES, BOXES, strict=True):
    inside |= (np.abs(there - eye) <= box / 2 + 1e-3).all(axis=1)
  assert inside.all() and len(rows) > 20
  # Both centres are painted over entirely.
  for eye in EYES:
    x, y = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2] @ [*eye, 1]
    assert patch.opacity[round(y) - patch.top, round(x) - patch.left] == 1
  assert patch.opacity.max() == 1 and patch.opacity.min() == 0


def test_a_square_at_the_edge_is_cut_off():
  patch = _patch(_painted(), [[1.0, 0, 25], [0, 1, 20]], (90, 120))
  assert (patch.top, patch.left) == (3, 0)
  assert patch.colors.shape[:2] == patch.opacity.shape
  assert _patch(_painted(), [[1.0, 0, 500], [0, 1, 0]], (90, 120)) is None


def test_a_larger_square_is_smoothed_before_it_is_sampled():
  stripes = np.zeros((SIDE, SIDE, 3), np.float32)
  stripes[:, ::2] = 1
  patch = _patch(stripes, [[4.0, 0, 0], [0, 4, 0]], (16, 16))
  middle = patch.colors[patch.opacity == 1]
  np.testing.assert_allclose(middle, 0.5, atol=0.1)
