"""Aligned faces, and the way back."""

import dataclasses

import drawn
import numpy as np
import pytest

from exgan_jax.errors import InputError
from exgan_jax.face_records import alignment
from exgan_jax.photo import faces, photograph


@pytest.fixture(scope='module')
def finder():
  return drawn.Finder()


@pytest.mark.parametrize('side', [100, 400, 1600])
def test_the_matrix_takes_eyes_to_eyes(finder, side):
  size = (side + 40, side + 60)
  image = finder.draw(size, (5, 0, False), side=side)
  face = finder.faces[size][0]
  aligned = faces.align_face(photograph.from_array(image), image, face)
  for resolution in (faces.SIDE, 64):
    square, eyes, matrix = aligned.at(resolution)
    assert square.shape == (resolution, resolution, 3)
    there = [matrix @ [*eye, 1] for eye in face.eyes]
    # The records' eyes are whole pixels of 256.
    np.testing.assert_allclose(there, eyes, atol=1.5 * resolution / faces.SIDE)
  assert abs(aligned.eyes[0, 1] - aligned.eyes[1, 1]) <= 1


def test_corners_are_moved_with_the_face(finder):
  finder.draw((200, 220), (5, 0, False))
  face = finder.faces[200, 220][0]
  turn = np.array([[0.0, -2, 10], [2, 0, 20]])
  there = faces.moved(face, turn).corners
  np.testing.assert_allclose(there, [turn @ [*c, 1] for c in face.corners])
  unknown = dataclasses.replace(face, corners=None)
  assert faces.moved(unknown, turn).corners is None


def test_is_what_the_data_sets_hold(finder):
  image = finder.draw((200, 220), (5, 0, False))
  face = finder.faces[200, 220][0]
  aligned = faces.align_face(photograph.from_array(image), image, face)
  square, eyes = alignment.align(image, face, faces.SIDE)
  np.testing.assert_array_equal(aligned.square, square)
  np.testing.assert_array_equal(aligned.eyes, eyes)


def test_the_square_is_where_the_matrix_says(finder):
  # A white dot in the photograph, far above what is averaged.
  size = (1500, 1700)
  image = finder.draw(size, (5, 0, False), side=1400)
  face = finder.faces[size][0]
  before = faces.align_face(photograph.from_array(image), image, face)
  x, y = 700, 900
  image[y - 10 : y + 11, x - 10 : x + 11] = 255, 0, 255
  after = faces.align_face(photograph.from_array(image), image, face)
  changed = (after.square.astype(int) - before.square).any(axis=-1)
  rows, columns = np.nonzero(changed)
  expected = before.matrix @ [x, y, 1]
  found = columns.mean(), rows.mean()
  np.testing.assert_allclose(found, expected, atol=0.6)


def test_closed_eyes_are_moved_up_to_where_irises_would_be(finder):
  finder.draw((200, 220), (5, 0, True))
  finder.draw((201, 221), (5, 0, False))
  (closed,), (opened,) = finder.faces[200, 220], finder.faces[201, 221]
  eyes = np.float32([[50, 100], [150, 100]])
  np.testing.assert_array_equal(faces.opened_eyes(opened, eyes), eyes)
  moved = faces.opened_eyes(closed, eyes)
  np.testing.assert_allclose(eyes - moved, [[0, 4.2], [0, 4.2]], atol=1e-4)


@pytest.mark.parametrize(
  ('blinks', 'is_open', 'painted'),
  [
    ((0.1, 0.12), True, None),
    ((0.6, 0.55), False, (True, True)),
    ((0.16, 0.5), False, (False, True)),
    # MediaPipe's score of an eye is lower if the other one is open.
    ((0.32, 0.08), False, (True, False)),
    ((0.3, 0.2), True, None),
    ((0.39, 0.51), False, (True, True)),
  ],
)
def test_each_eye_is_judged_for_itself(finder, blinks, is_open, painted):
  finder.draw((200, 220), (5, 0, False))
  face = dataclasses.replace(
    finder.faces[200, 220][0], blinks=blinks, opened=1 - max(blinks)
  )
  assert faces.is_open(face) == is_open
  assert painted is None or faces.eyes_to_paint(face) == painted


def test_reducing_averages_whole_squares():
  image = np.random.default_rng(0).integers(0, 256, (21, 33, 3), np.uint8)
  reduced, factor = faces.reduce(image, 3.9)
  assert factor == 3 and reduced.shape == (7, 11, 3)
  blocks = image.reshape(7, 3, 11, 3, 3).mean(axis=(1, 3))
  np.testing.assert_allclose(reduced, blocks, atol=0.51)
  np.testing.assert_allclose(
    faces.enlarging(3) @ [0, 1, 1], [1, 4, 1]
  )  # The middles of the first block, and of the one below.
  assert faces.reduce(image, 1.9)[0] is image


def test_an_eye_outside_the_picture(finder):
  image = finder.draw((200, 220), (5, 0, True))
  face = faces.moved(
    finder.faces[200, 220][0], np.array([[1.0, 0, -90], [0, 1, 0]])
  )
  with pytest.raises(InputError, match='an eye is outside'):
    faces.align_face(photograph.from_array(image), image, face)
