"""The bundle's whereabouts, and faces as Celeb-ID's parameters have them."""

import hashlib
import io
import json
import urllib.error

import numpy as np
import pytest

from tfds_celeb_id import landmarks, pictures
from tfds_celeb_id.errors import InputError


@pytest.fixture
def cache(tmp_path, monkeypatch):
  """The place of the cached bundle, in an empty home."""
  monkeypatch.delenv(landmarks.BUNDLE_VARIABLE, raising=False)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  return tmp_path / 'exgan_jax' / 'face_landmarker.task'


def _serve(monkeypatch, data):
  calls = []

  def urlopen(url, timeout):
    calls.append(url)
    if data is None:
      raise urllib.error.URLError('no route to host')
    return io.BytesIO(data)

  monkeypatch.setattr('urllib.request.urlopen', urlopen)
  return calls


def test_a_named_bundle_comes_first(cache, tmp_path, monkeypatch):
  calls = _serve(monkeypatch, None)
  argument, variable = tmp_path / 'argument', tmp_path / 'variable'
  argument.write_bytes(b'1')
  variable.write_bytes(b'2')
  monkeypatch.setenv(landmarks.BUNDLE_VARIABLE, str(variable))
  assert landmarks.find_bundle(argument) == argument
  assert landmarks.find_bundle() == variable
  variable.unlink()
  with pytest.raises(InputError, match='no face landmark bundle at'):
    landmarks.find_bundle()
  assert not calls


def test_downloads_once(cache, monkeypatch):
  data = b'the network'
  monkeypatch.setattr(
    landmarks, 'BUNDLE_SHA256', hashlib.sha256(data).hexdigest()
  )
  calls = _serve(monkeypatch, data)
  assert landmarks.find_bundle() == cache == landmarks.find_bundle()
  assert cache.read_bytes() == data
  assert calls == [landmarks.BUNDLE_URL]
  cache.write_bytes(b'half of it')  # Fetched again: it is not the bundle.
  assert landmarks.find_bundle().read_bytes() == data
  assert len(calls) == 2


@pytest.mark.parametrize('data', [None, b'a page that asks for a password'])
def test_says_in_one_line_what_to_fetch(cache, monkeypatch, data):
  _serve(monkeypatch, data)
  with pytest.raises(InputError) as error:
    landmarks.find_bundle()
  message = str(error.value)
  assert landmarks.BUNDLE_URL in message and str(cache) in message
  assert '\n' not in message
  assert not cache.exists() and not list(cache.parent.glob('*'))


def test_a_face_from_its_points():
  points = np.full((478, 3), 100.0)
  points[10], points[152] = (100, 40, 0), (110, 200, 0)  # Forehead and chin.
  points[468, :2], points[473, :2] = (80, 90), (120, 110)  # Irises.
  points[61, :2], points[291, :2] = (90, 150), (130, 160)  # The mouth's ends.
  points[33], points[263] = (80, 90, 0), (130, 90, 50)  # The eyes' ends.
  face = landmarks.face_from_landmarks(points, 0.25)
  assert face.eyes == ((80, 90), (120, 110)) and face.mouth == (110, 155)
  assert (face.x, face.y) == (105, 120)
  assert face.width == face.height == pytest.approx(1.25 * 160)
  assert face.roll == pytest.approx(np.degrees(np.arctan2(20, 40)))
  assert (face.opened, face.closed) == (0.75, 0.25)
  assert (face.yaw, face.pitch) == (pytest.approx(45), 0)


def test_faces_agree_with_published_parameters(photographs, bundle):
  sample = photographs / 'celeb_id_sample' / 'data'
  parameters = json.loads((sample / 'celeb_params.json').read_text())
  differences = []
  with landmarks.FaceLandmarker(bundle) as landmarker:
    for name, entry in list(parameters.items())[:100]:
      if not (entry.get('eye_left') and entry.get('eye_right')):
        continue
      image = pictures.read_picture(sample / 'celeb_id_raw' / name)
      face = landmarker.detect(image)[0]
      eyes = [
        (entry[side]['x'], entry[side]['y'])
        for side in ('eye_left', 'eye_right')
      ]
      differences.append(
        (
          np.abs(np.subtract(face.eyes, eyes)).max(),
          abs(face.roll - entry['roll']),
          abs(face.width - entry['face_w']),
          abs(face.x - entry['face_x']) + abs(face.y - entry['face_y']),
          abs(face.opened - entry.get('eyes_opened', face.opened)),
        )
      )
  eyes, roll, width, centre, opened = np.median(differences, axis=0)
  assert eyes < 1 and roll < 0.1 and width < 1.5 and centre < 2
  assert opened < 0.01


def test_closed_eyes_are_told_from_open_ones(photographs, bundle):
  scores = {'open': [], 'closed': []}
  with landmarks.FaceLandmarker(bundle) as landmarker:
    for path in sorted((photographs / 'closed_eyes').glob('*/*.jpg')):
      face = landmarker.detect(pictures.read_picture(path))[0]
      assert face.closed == pytest.approx(1 - face.opened)
      scores[path.name.partition('_')[0]].append(face.opened)
  assert len(scores['open']) > 50 and len(scores['closed']) > 20
  assert np.mean(np.array(scores['open']) >= 0.6) > 0.95
  assert np.mean(np.array(scores['closed']) < 0.6) > 0.95


def test_no_face_in_noise(bundle):
  noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
  with landmarks.FaceLandmarker(bundle) as landmarker:
    assert landmarker.detect(noise) == []


def test_what_is_no_bundle_is_refused(tmp_path):
  pytest.importorskip('mediapipe')
  (tmp_path / 'bundle').write_bytes(b'no bundle at all')
  with pytest.raises(InputError, match='not a face landmark bundle'):
    landmarks.FaceLandmarker(tmp_path / 'bundle')
