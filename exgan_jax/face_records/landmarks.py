"""Finds faces in photos with MediaPipe's face landmarker.

MediaPipe is imported when the first `FaceLandmarker` is created. Its network is
a separate file, the bundle.
"""

import contextlib
import ctypes
import os
import pathlib
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from exgan_jax.errors import InputError
from exgan_jax.face_records.alignment import Face, Point
from exgan_jax.face_records.cached_file import cache_folder, download

BUNDLE_URL = (
  'https://storage.googleapis.com/mediapipe-models/face_landmarker/'
  'face_landmarker/float16/1/face_landmarker.task'
)
BUNDLE_BYTES = 3_758_596
BUNDLE_SHA256 = (
  '64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff'
)
BUNDLE_VARIABLE = 'EXGAN_FACE_LANDMARKER'

MAX_FACES = 5

# Points of MediaPipe's mesh; left and right in the picture.
_IRIS_LEFT, _IRIS_RIGHT = 468, 473
_CORNERS = (33, 133, 362, 263)  # Outer and inner, inner and outer.
# Left and right in the picture; MediaPipe's names are the subject's.
_BLINKS = ('eyeBlinkRight', 'eyeBlinkLeft')
_FOREHEAD, _CHIN = 10, 152
_MOUTH_CORNERS = [61, 291]
# Side of the face box over the larger side of the landmarks' bounding box. The
# boxes then agree with those of Celeb-ID, whose crops contain the whole head.
_BOX_PER_LANDMARKS = 1.25


def find_bundle(path: str | os.PathLike | None = None) -> pathlib.Path:
  """Returns the path of the bundle, which is downloaded once.

  The first of these is used: `path`, the environment variable
  `EXGAN_FACE_LANDMARKER`, the user's cache folder, the network. Only the last
  two must have the published hash.

  Raises:
    InputError: there is no bundle, and it cannot be downloaded.
  """
  named = path or os.environ.get(BUNDLE_VARIABLE)
  if named:
    named = pathlib.Path(named).expanduser()
    if not named.is_file():
      raise InputError(f'no face landmark bundle at {named}')
    return named
  cached = cache_folder() / 'face_landmarker.task'
  try:
    return download(BUNDLE_URL, cached, BUNDLE_BYTES, BUNDLE_SHA256)
  except OSError as error:
    raise InputError(
      f'no face landmark bundle: download {BUNDLE_URL} to {cached}, or set '
      f'{BUNDLE_VARIABLE} to its path ({error})'
    ) from error


class FaceLandmarker:
  """MediaPipe's face landmarker, a context manager."""

  def __init__(self, bundle: str | os.PathLike | None = None):
    """Loads the bundle, see `find_bundle`.

    Raises:
      InputError: the bundle cannot be used.
    """
    bundle = find_bundle(bundle)
    with quiet_stderr():
      mediapipe = import_mediapipe()
      vision = mediapipe.tasks.vision
      try:
        self._landmarker = vision.FaceLandmarker.create_from_options(
          vision.FaceLandmarkerOptions(
            base_options=mediapipe.tasks.BaseOptions(
              model_asset_buffer=bundle.read_bytes()
            ),
            num_faces=MAX_FACES,
            output_face_blendshapes=True,
          )
        )
      except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f'{bundle} is not a face landmark bundle') from error
      self._image = lambda pixels: mediapipe.Image(
        image_format=mediapipe.ImageFormat.SRGB, data=pixels
      )
      outlive_exit(self._landmarker)

  def detect(self, image: UInt8[np.ndarray, 'h w 3']) -> list[Face]:
    """Returns up to five faces in an RGB picture, largest first.

    `eyes` are the centers of the irises, `closed` is the larger blink score,
    and `opened` is 1 - `closed`.
    """
    result = self._result(image)
    faces = []
    for points, shapes in zip(
      result.face_landmarks, result.face_blendshapes, strict=True
    ):
      scores = {shape.category_name: float(shape.score) for shape in shapes}
      left, right = (scores[name] for name in _BLINKS)
      faces.append(face_from_landmarks(_solid(points, image), (left, right)))
    return sorted(faces, key=lambda face: -face.width)

  def mesh(
    self, image: UInt8[np.ndarray, 'h w 3']
  ) -> Float[np.ndarray, '478 2'] | None:
    """Returns x and y in pixels of the largest face's points, if there is one.

    The points are in MediaPipe's order.
    """
    found = [
      _solid(x, image)[:, :2] for x in self._result(image).face_landmarks
    ]
    return max(found, key=lambda x: np.ptp(x[:, 0]), default=None)

  def _result(self, image: UInt8[np.ndarray, 'h w 3']) -> Any:
    with quiet_stderr():
      return self._landmarker.detect(self._image(np.ascontiguousarray(image)))

  def close(self) -> None:
    """Frees the network."""
    with quiet_stderr():
      self._landmarker.close()

  def __enter__(self) -> 'FaceLandmarker':
    return self

  def __exit__(self, *_) -> None:
    self.close()


def _solid(points: Any, image: np.ndarray) -> Float[np.ndarray, '478 3']:
  """Converts to pixels; z is also in units of the width."""
  height, width = image.shape[:2]
  return np.array([(p.x * width, p.y * height, p.z * width) for p in points])


def outlive_exit(network) -> None:
  """Keeps the interpreter from closing a MediaPipe network at exit.

  Closing needs a new thread, which fails with tracebacks at that point.
  """
  ctypes.pythonapi.Py_IncRef(ctypes.py_object(network))


def face_from_landmarks(
  solid: Float[np.ndarray, '478 3'], blinks: tuple[float, float]
) -> Face:
  """Converts MediaPipe's points and blink scores.

  Args:
    solid: x, y and z of the points in pixels.
    blinks: of the left and the right eye in the picture.
  """
  points = solid[:, :2]
  low, high = points.min(axis=0), points.max(axis=0)
  side = _BOX_PER_LANDMARKS * max(high - low)
  x, y = (low + high) / 2
  left, right = points[_IRIS_LEFT], points[_IRIS_RIGHT]
  outer_left, inner_left, inner_right, outer_right = (
    _point(points[i]) for i in _CORNERS
  )
  roll = np.degrees(np.arctan2(right[1] - left[1], right[0] - left[0]))
  return Face(
    eyes=(_point(left), _point(right)),
    mouth=_point(points[_MOUTH_CORNERS].mean(axis=0)),
    x=float(x),
    y=float(y),
    width=float(side),
    height=float(side),
    roll=float(roll),
    opened=1 - max(blinks),
    closed=max(blinks),
    yaw=_slope(solid[_CORNERS[-1]] - solid[_CORNERS[0]]),
    pitch=_slope(solid[_CHIN] - solid[_FOREHEAD]),
    corners=(outer_left, inner_left, inner_right, outer_right),
    blinks=blinks,
  )


def _point(xy: Float[np.ndarray, '2']) -> Point:
  return float(xy[0]), float(xy[1])


def _slope(line: Float[np.ndarray, '3']) -> float:
  """Returns by how many degrees a line points away from the camera."""
  return float(np.degrees(np.arctan2(line[2], np.hypot(line[0], line[1]))))


def import_mediapipe():
  """Imports MediaPipe without TensorFlow.

  MediaPipe would import it for a decorator of its documentation, which takes
  seconds and hundreds of megabytes.
  """
  hidden = 'tensorflow' not in sys.modules
  if hidden:
    sys.modules['tensorflow'] = None  # Makes `import tensorflow` fail.
  try:
    import mediapipe
    from mediapipe.tasks.python import vision  # noqa: F401
  finally:
    if hidden:
      del sys.modules['tensorflow']
  return mediapipe


def _lines(letters: bytes, levels: bytes) -> re.Pattern[bytes]:
  """Matches log lines of Abseil (MediaPipe) and TensorFlow Lite by level."""
  return re.compile(
    rb'(?:[%b]\d{4} [\d:.]+ +\d+ [\w./-]+\.(?:cc|h|mm):\d+\] '
    rb'|^(?:%b): (?=\S)).*\n?' % (letters, levels),
    re.MULTILINE,
  )


# XLA's log lines are dropped as well; they have the same format.
_NOTICES = _lines(b'IW', b'INFO|WARNING')
_NOTICES_AND_ERRORS = _lines(b'IWE', b'INFO|WARNING|ERROR')


_stderr_lock = threading.RLock()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
  """Drops MediaPipe's notices; other text is written after the body.

  Every call of MediaPipe needs this, not only its set-up: for example, it warns
  of unaligned memory, which depends on the allocator. MediaPipe has no option
  to turn notices off. Errors are written unless the body raises `InputError`.
  Other threads wait for each other. If the body aborts the process, held text
  is lost.
  """
  dropped = _NOTICES
  with _stderr_lock, tempfile.TemporaryFile() as held:
    # Native code writes to the file descriptor, not to `sys.stderr`.
    original = os.dup(2)
    os.dup2(held.fileno(), 2)
    try:
      yield
    except InputError:
      dropped = _NOTICES_AND_ERRORS
      raise
    finally:
      os.dup2(original, 2)
      os.close(original)
      held.seek(0)
      # A closed stderr is not an error, as in `logging`.
      with contextlib.suppress(OSError), open(2, 'wb', closefd=False) as stderr:
        stderr.write(dropped.sub(b'', held.read()))
