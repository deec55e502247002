"""Faces in a photograph, found by MediaPipe's face landmarker.

MediaPipe belongs to the extra `photos` and is imported when the first
`FaceLandmarker` is made. Its network is a separate file, the bundle.
"""

import atexit
import contextlib
import ctypes
import os
import pathlib
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

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

# Points of MediaPipe's mesh; left and right as the viewer sees them.
_IRIS_LEFT, _IRIS_RIGHT = 468, 473
_CORNERS = (33, 133, 362, 263)  # Outer and inner, inner and outer.
# MediaPipe names the eyes from the subject's side.
_BLINKS = ('eyeBlinkRight', 'eyeBlinkLeft')
_FOREHEAD, _CHIN = 10, 152
_MOUTH_CORNERS = [61, 291]
# The side of the face box per larger side of the landmarks' bounding box. With
# it the boxes agree with those that were published along with Celeb-ID's kind
# of parameters: the crop then holds the whole head.
_BOX_PER_LANDMARKS = 1.25


def find_bundle(path: str | os.PathLike | None = None) -> pathlib.Path:
  """Returns the path of the bundle, downloading it once if need be.

  Looked for in this order: `path`, the environment variable
  `EXGAN_FACE_LANDMARKER`, the user's cache folder, the network. A file that was
  named is taken as it is; the cached and the downloaded one must have the
  published hash.

  Raises:
    InputError: there is no bundle and none can be downloaded.
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
      f'no face landmark bundle: fetch {BUNDLE_URL} and save it as {cached}, '
      f'or name its path in {BUNDLE_VARIABLE} ({error})'
    ) from error


class FaceLandmarker:
  """MediaPipe's face landmarker; use it as a context manager or `close` it."""

  def __init__(self, bundle: str | os.PathLike | None = None):
    """Loads the bundle, which `find_bundle` looks for.

    Raises:
      InputError: MediaPipe is not installed, or the bundle cannot be used.
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
    """Returns the faces in an RGB picture, largest first, at most five.

    The eyes are the centres of the irises. `opened` is one minus the larger
    one of the two blink scores, and `closed` is that score.
    """
    height, width = image.shape[:2]
    with quiet_stderr():
      result = self._landmarker.detect(self._image(np.ascontiguousarray(image)))
    faces = [
      face_from_landmarks(
        # Depth is in widths of the picture, and falls towards the camera.
        np.array([(p.x * width, p.y * height, p.z * width) for p in points]),
        _blinks(shapes),
      )
      for points, shapes in zip(
        result.face_landmarks, result.face_blendshapes, strict=True
      )
    ]
    return sorted(faces, key=lambda face: -face.width)

  def close(self) -> None:
    """Frees the network."""
    with quiet_stderr():
      self._landmarker.close()

  def __enter__(self) -> 'FaceLandmarker':
    return self

  def __exit__(self, *_) -> None:
    self.close()


def outlive_exit(network) -> None:
  """Keeps the interpreter's end from closing a network of MediaPipe's.

  It needs a thread for that, and when there are no threads any more prints
  tracebacks instead. One that is left open ends with the process.
  """
  ctypes.pythonapi.Py_IncRef(ctypes.py_object(network))


def _blinks(shapes) -> tuple[float, float]:
  """Returns the blink scores of the left and the right eye."""
  scores = {shape.category_name: float(shape.score) for shape in shapes}
  left, right = (scores[name] for name in _BLINKS)
  return left, right


def face_from_landmarks(
  solid: Float[np.ndarray, '478 3'], blinks: tuple[float, float]
) -> Face:
  """Returns the face that MediaPipe's points and blink scores describe.

  Args:
    solid: x, y and z in pixels.
    blinks: of the left and the right eye, as the viewer sees them.
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
  """Degrees by which a line leads away from the camera."""
  return float(np.degrees(np.arctan2(line[2], np.hypot(line[0], line[1]))))


def import_mediapipe():
  """Imports MediaPipe without TensorFlow.

  Where TensorFlow is installed, MediaPipe would load all of it, seconds and
  hundreds of megabytes, for a decorator of its documentation.
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
  """Lines of MediaPipe's log (Abseil's) and of TensorFlow Lite's, by level."""
  return re.compile(
    rb'(?:[%b]\d{4} [\d:.]+ +\d+ [\w./-]+\.(?:cc|h|mm):\d+\] '
    rb'|^(?:%b): (?=\S)).*\n?' % (letters, levels),
    re.MULTILINE,
  )


# What MediaPipe writes when all is well, and with an error that is explained.
# XLA's log is Abseil's, too: its lines cannot be told from MediaPipe's.
_NOTICES = _lines(b'IW', b'INFO|WARNING')
_NOTICES_AND_ERRORS = _lines(b'IWE', b'INFO|WARNING|ERROR')


class _Stderr:
  """Standard error, which several threads may hold back at the same time.

  Native code writes to the file descriptor itself, so that is what leads to a
  file in the meantime. The file is never truncated: another thread may still be
  writing to it just after the descriptor was restored, which is then passed on
  the next time, or at exit.
  """

  def __init__(self):
    self._lock = threading.Lock()
    self._uses = 0
    self._file = None
    self._passed = 0  # Bytes of the file that are dealt with.

  def hold(self) -> None:
    """Starts a use; the first one redirects the descriptor."""
    with self._lock:
      if self._file is None:
        with tempfile.TemporaryFile() as file:
          self._file = os.dup(file.fileno())
        atexit.register(self._end)
      if not self._uses:
        self._original = os.dup(2)
        os.dup2(self._file, 2)
      self._uses += 1

  def release(self, dropped: re.Pattern[bytes]) -> None:
    """Ends a use, and passes on what came even if others still hold it."""
    with self._lock:
      self._uses -= 1
      if self._uses:
        # Their last line may be half written.
        self._pass_on(self._original, dropped, whole_lines=True)
      else:
        os.dup2(self._original, 2)
        os.close(self._original)
        self._pass_on(2, dropped)

  def _pass_on(
    self, to: int, dropped: re.Pattern[bytes], whole_lines: bool = False
  ) -> None:
    size = os.fstat(self._file).st_size
    text = os.pread(self._file, size - self._passed, self._passed)
    if whole_lines:
      text = text[: text.rfind(b'\n') + 1]
    self._passed += len(text)
    # As for a line of `logging`, it is no error if nobody can read it.
    with (
      contextlib.suppress(OSError),
      open(to, 'wb', closefd=False) as stream,
    ):
      stream.write(dropped.sub(b'', text))

  def _end(self) -> None:
    """A daemon thread that the interpreter's end stops releases nothing."""
    self._pass_on(self._original if self._uses else 2, _NOTICES)


_stderr = _Stderr()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
  """Drops MediaPipe's notices; other text is written after the body.

  Every call of MediaPipe needs this, not only its set-up: that a picture's
  memory is not aligned, for example, depends on the allocator. No environment
  variable and no option of MediaPipe's turns notices off. Errors are written,
  unless the body raises `InputError`, which explains them. Threads may use this
  at the same time. If the body aborts the process, held text is lost.
  """
  _stderr.hold()
  dropped = _NOTICES
  try:
    yield
  except InputError:
    dropped = _NOTICES_AND_ERRORS
    raise
  finally:
    _stderr.release(dropped)
