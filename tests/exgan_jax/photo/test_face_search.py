"""Faces of any size, at any place and turned anyhow, by MediaPipe itself."""

import os
import subprocess
import sys
import types
import zipfile

import cv2
import numpy as np
import pytest

from exgan_jax.errors import InputError
from exgan_jax.photo.face_search import FaceFinder
from tfds_celeb_id.synth_id import renderer

SIDE = 240


@pytest.fixture(scope='module')
def finder(bundle):
  with FaceFinder(bundle) as finder:
    yield finder


def _drawn(closed=False, side=SIDE, person=5):
  return renderer.render(
    renderer.sample_person(1, person),
    renderer.sample_scene(1, person, 0),
    side,
    eyes_closed=closed,
  )


def _background(height, width):
  cells = np.random.default_rng(0).integers(90, 150, (6, 8, 3), np.uint8)
  return cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)


def _error(face, eyes):
  """How far the eyes are off, in parts of their distance."""
  distance = np.linalg.norm(eyes[1] - eyes[0])
  return np.abs(np.array(face.eyes) - eyes).max() / distance


@pytest.mark.parametrize('roll', [0, 40, 90, 135, 180, 250, 315])
def test_at_any_roll(finder, roll):
  drawn, canvas = _drawn(closed=True), _background(500, 520)
  canvas[130 : 130 + SIDE, 140 : 140 + SIDE] = drawn.image
  matrix = cv2.getRotationMatrix2D((260, 250), -roll, 1)
  turned = cv2.warpAffine(canvas, matrix, (520, 500), borderMode=1)
  eyes = (drawn.eyes + np.array([140, 130])) @ matrix[:, :2].T + matrix[:, 2]
  (face,) = finder(turned)
  assert _error(face, eyes) < 0.12
  assert face.closed > 0.5
  assert abs((face.roll - roll + 180) % 360 - 180) < 6


@pytest.mark.parametrize(
  ('width', 'top', 'left'), [(60, 10, 700), (110, 500, 30), (700, 0, 150)]
)
def test_small_ones_and_large_ones(finder, width, top, left):
  drawn, canvas = _drawn(side=2 * 64 if width < 200 else width), (720, 960)
  canvas = _background(*canvas)
  image = cv2.resize(drawn.image, (width, width), interpolation=cv2.INTER_AREA)
  canvas[top : top + width, left : left + width] = image
  eyes = drawn.eyes * width / drawn.image.shape[0] + np.array([left, top])
  found = finder(canvas)
  assert len(found) == 1 and _error(found[0], eyes) < 0.15


def test_two_faces_are_told_from_left_to_right(finder):
  canvas = _background(300, 600)
  canvas[30 : 30 + SIDE, 20 : 20 + SIDE] = _drawn(closed=True).image
  canvas[30 : 30 + SIDE, 330 : 330 + SIDE] = _drawn(person=8).image
  left, right = finder(canvas)
  assert left.x < 300 < right.x
  assert left.closed > 0.5 > right.closed


@pytest.mark.parametrize('image', ['blank', 'noise', 'stripes'])
def test_nobody(finder, image):
  made = {
    'blank': np.full((400, 300, 3), 255, np.uint8),
    'noise': np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8),
    'stripes': (np.indices((300, 400, 3))[1] // 9 % 2 * 255).astype(np.uint8),
  }
  assert finder(made[image]) == []


def test_looks_again_where_a_face_was(finder):
  closed, opened = _drawn(closed=True).image, _drawn().image
  (face,) = finder(closed)
  again = finder.again(opened, face)
  assert again.closed < 0.4 < face.closed
  assert abs(again.x - face.x) < 0.1 * face.width
  assert finder.again(np.full_like(opened, 200), face) is None


def test_other_files_are_no_bundle(tmp_path):
  pytest.importorskip('mediapipe')
  path = tmp_path / 'bundle'
  path.write_bytes(b'no zip')
  with pytest.raises(InputError, match='not a face landmark bundle'):
    FaceFinder(path)
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('face_detector.tflite', b'no network')
  with pytest.raises(InputError, match='not a face landmark bundle'):
    FaceFinder(path)
  with pytest.raises(InputError, match='no face landmark bundle at'):
    FaceFinder(tmp_path / 'none')


def test_notices_while_it_looks_are_dropped(capfd):
  def detect(image):
    os.write(2, b'WARNING: the memory is not aligned\nkept\n')
    return types.SimpleNamespace(detections=[])

  finder = FaceFinder.__new__(FaceFinder)
  finder._detector = types.SimpleNamespace(detect=detect)
  finder._image = lambda pixels: pixels
  assert finder._sights(np.zeros((8, 8, 3), np.uint8)) == []
  assert capfd.readouterr().err == 'kept\n'


def test_one_that_is_left_open_says_nothing(bundle):
  code = (
    'import sys, numpy as np\n'
    'from exgan_jax.photo.face_search import FaceFinder\n'
    'finder = FaceFinder(sys.argv[1])\n'
    'print(finder(np.zeros((200, 200, 3), np.uint8)))'
  )
  done = subprocess.run(
    [sys.executable, '-c', code, bundle],
    capture_output=True, text=True, timeout=120,
  )  # fmt: skip
  assert done.returncode == 0 and done.stdout == '[]\n'
  assert done.stderr == ''
