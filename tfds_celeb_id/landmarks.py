"""Faces in a photograph, found by MediaPipe's face landmarker.

MediaPipe belongs to the extra `photos` and is imported when the first
`FaceLandmarker` is made. Its network is a separate file, the bundle.
"""

import contextlib
import ctypes
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8

from tfds_celeb_id.alignment import Face
from tfds_celeb_id.cached_file import cache_folder, download
from tfds_celeb_id.errors import InputError

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
_CORNER_LEFT, _CORNER_RIGHT = 33, 263
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
      # The first picture sets the network up, which is when it writes the
      # rest of its notices.
      self.detect(np.zeros((64, 64, 3), np.uint8))

  def detect(self, image: UInt8[np.ndarray, 'h w 3']) -> list[Face]:
    """Returns the faces in an RGB picture, largest first, at most five.

    The eyes are the centres of the irises. `opened` is one minus the larger
    one of the two blink scores, and `closed` is that score.
    """
    height, width = image.shape[:2]
    result = self._landmarker.detect(self._image(np.ascontiguousarray(image)))
    faces = [
      face_from_landmarks(
        # Depth is in widths of the picture, and falls towards the camera.
        np.array([(p.x * width, p.y * height, p.z * width) for p in points]),
        max(
          s.score
          for s in shapes
          if s.category_name in ('eyeBlinkLeft', 'eyeBlinkRight')
        ),
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


def face_from_landmarks(
  solid: Float[np.ndarray, '478 3'], blink: float
) -> Face:
  """Returns the face that MediaPipe's 478 points (x, y, z; pixels) describe."""
  points = solid[:, :2]
  low, high = points.min(axis=0), points.max(axis=0)
  side = _BOX_PER_LANDMARKS * max(high - low)
  x, y = (low + high) / 2
  left, right = points[_IRIS_LEFT], points[_IRIS_RIGHT]
  roll = np.degrees(np.arctan2(right[1] - left[1], right[0] - left[0]))
  return Face(
    eyes=(tuple(left.tolist()), tuple(right.tolist())),
    mouth=tuple(points[_MOUTH_CORNERS].mean(axis=0).tolist()),
    x=float(x),
    y=float(y),
    width=float(side),
    height=float(side),
    roll=float(roll),
    opened=1 - float(blink),
    closed=float(blink),
    yaw=_slope(solid[_CORNER_RIGHT] - solid[_CORNER_LEFT]),
    pitch=_slope(solid[_CHIN] - solid[_FOREHEAD]),
  )


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
  except ImportError as error:
    raise InputError(
      "finding faces needs MediaPipe: pip install 'exgan_jax[photos]' "
      f'({error})'
    ) from error
  finally:
    if hidden:
      del sys.modules['tensorflow']
  return mediapipe


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
  """Holds back what native code writes to stderr, unless the body fails."""
  sys.stderr.flush()
  stderr = os.dup(2)
  with tempfile.TemporaryFile() as held:
    os.dup2(held.fileno(), 2)
    try:
      yield
    except InputError:
      raise
    except BaseException:
      held.seek(0)
      os.write(stderr, held.read())
      raise
    finally:
      os.dup2(stderr, 2)
      os.close(stderr)
