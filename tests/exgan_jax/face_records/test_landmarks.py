"""The bundle, and faces compared with Celeb-ID's parameters."""

import hashlib
import io
import json
import logging
import os
import threading
import types
import urllib.error

import numpy as np
import pytest

from exgan_jax.errors import InputError
from exgan_jax.face_records import landmarks, pictures


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
def test_a_failed_download_names_url_and_path(cache, monkeypatch, data):
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
  points[133, :2], points[362, :2] = (95, 92), (110, 94)
  face = landmarks.face_from_landmarks(points, (0.125, 0.25))
  assert face.eyes == ((80, 90), (120, 110)) and face.mouth == (110, 155)
  assert (face.x, face.y) == (105, 120)
  assert face.width == face.height == pytest.approx(1.25 * 160)
  assert face.roll == pytest.approx(np.degrees(np.arctan2(20, 40)))
  assert (face.opened, face.closed) == (0.75, 0.25)
  assert (face.yaw, face.pitch) == (pytest.approx(45), 0)
  assert face.corners == ((80, 90), (95, 92), (110, 94), (130, 90))
  assert face.blinks == (0.125, 0.25)


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
  eyes, roll, width, center, opened = np.median(differences, axis=0)
  assert eyes < 1 and roll < 0.1 and width < 1.5 and center < 2
  assert opened < 0.01


def test_closed_eyes_have_low_scores(photographs, bundle):
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


def test_an_invalid_bundle_is_refused(tmp_path):
  pytest.importorskip('mediapipe')
  (tmp_path / 'bundle').write_bytes(b'no bundle at all')
  with pytest.raises(InputError, match='not a face landmark bundle'):
    landmarks.FaceLandmarker(tmp_path / 'bundle')


# As MediaPipe and TensorFlow Lite have written them.
NOTICES = (
  b'WARNING: Logging before InitGoogle() is written to STDERR\n'
  b'W0000 00:00:1795647244.047550    3538 graph.cc:181] Sets acceleration.\n'
  b'INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n'
  b'INFO: [registry.cc:75] XNNPACK CPU accelerator registered.\n'
  b'W0000 00:00:1795647244.088055    3542 inference_calculator_litert.cc:121] '
  b'Input tensor memory is not aligned. Reallocating memory.\n'
)


def _landmarker(detect):
  """Returns a landmarker with a fake network."""
  made = landmarks.FaceLandmarker.__new__(landmarks.FaceLandmarker)
  made._landmarker = types.SimpleNamespace(detect=detect)
  made._image = lambda pixels: pixels
  return made


def test_notices_are_dropped_and_other_lines_are_kept(capfd):
  logger = logging.Logger('elsewhere')

  def detect(image):
    os.write(2, NOTICES)
    other = threading.Thread(target=logger.warning, args=['meanwhile'])
    other.start()
    other.join(60)
    os.write(2, NOTICES)
    return types.SimpleNamespace(face_landmarks=[], face_blendshapes=[])

  # Pytest's `sys.stderr` does not write to the file descriptor.
  with open(2, 'w', closefd=False) as stderr:
    logger.addHandler(logging.StreamHandler(stderr))
    assert _landmarker(detect).detect(np.zeros((8, 8, 3), np.uint8)) == []
    logger.warning('afterwards')
  assert capfd.readouterr().err == 'meanwhile\nafterwards\n'


def test_errors_are_written_unless_input_error_is_raised(capfd):
  def fail(image):
    os.write(2, NOTICES + b'E0000 00:00:1.5 7 graph.cc:9] No memory.\n')
    raise error

  for error in (RuntimeError('no memory'), InputError('no memory')):
    with pytest.raises(type(error)):
      _landmarker(fail).detect(np.zeros((8, 8, 3), np.uint8))
  assert capfd.readouterr().err == 'E0000 00:00:1.5 7 graph.cc:9] No memory.\n'


def _next_descriptor():
  """Returns the next free file descriptor; larger if one was left open."""
  number = os.dup(2)
  os.close(number)
  return number


def test_uses_may_be_nested_and_leave_nothing_open(capfd):
  before = os.fstat(2).st_ino, _next_descriptor()
  with landmarks.quiet_stderr():
    os.write(2, NOTICES + b'one\n')
    with landmarks.quiet_stderr():
      os.write(2, NOTICES + b'two\n')
  os.write(2, b'three\n')
  assert (os.fstat(2).st_ino, _next_descriptor()) == before
  assert capfd.readouterr().err == 'one\ntwo\nthree\n'


def test_lines_of_many_threads_all_arrive_once(capfd):
  def work(thread):
    for call in range(200):
      with landmarks.quiet_stderr():
        os.write(2, NOTICES + b'%d %d\n' % (thread, call))

  threads = [threading.Thread(target=work, args=[i]) for i in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(60)
  lines = capfd.readouterr().err.splitlines()
  expected = [f'{i} {call}' for i in range(8) for call in range(200)]
  assert sorted(lines) == sorted(expected)
