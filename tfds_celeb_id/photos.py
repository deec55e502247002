"""Turns a photo into an aligned picture."""

import dataclasses
import functools
import multiprocessing.util
from collections.abc import Callable

import numpy as np

from exgan_jax.face_records import alignment, pictures
from exgan_jax.face_records.alignment import Face
from exgan_jax.face_records.pictures import UnusablePictureError
from tfds_celeb_id import records

# Faces narrower than this fraction of the widest one are in the background. In
# news photos that holds for all of them; if a second face is wider, only the
# photographer knows which person is meant.
SECOND_FACE = 0.6
# In a narrower face box, in pixels, an eye has fewer than ten pixels.
MIN_FACE_PIXELS = 48


@dataclasses.dataclass(frozen=True)
class Photo:
  """A photo to be aligned: its path, person and name in the data set."""

  path: str
  identity: str
  filename: str


def the_face(faces: list[Face]) -> Face:
  """Returns the only usable face of a picture.

  Raises:
    UnusablePictureError: there is none, or more than one.
  """
  if not faces:
    raise UnusablePictureError('no face')
  first, *others = sorted(faces, key=lambda face: -face.width)
  if first.width < MIN_FACE_PIXELS:
    raise UnusablePictureError('face too small')
  least = max(MIN_FACE_PIXELS, SECOND_FACE * first.width)
  if any(face.width >= least for face in others):
    raise UnusablePictureError('more than one face')
  return first


def check_eyes(eyes: np.ndarray, size: int) -> None:
  """Raises UnusablePictureError if an eye is unknown or outside."""
  if not ((eyes >= 0) & (eyes < size)).all():
    raise UnusablePictureError('an eye is outside the picture')


def align_photo(
  photo: Photo, detector: Callable, bundle: str | None, size: int
) -> records.Entry | records.Rejected:
  """Reads a photo, finds the face, aligns it and encodes it.

  Args:
    photo: the photo.
    detector: `landmarks.FaceLandmarker` or a class with its interface; created
      once per process.
    bundle: argument of the detector.
    size: side of the aligned picture.
  """
  try:
    image = pictures.read_picture(photo.path)
    face = the_face(_detector(detector, bundle).detect(image))
    square, eyes = alignment.align(image, face, size)
    height, width = image.shape[:2]
    matrix = alignment.crop_of(face, width, height).matrix(size)
    check_eyes(eyes, size)
  except UnusablePictureError as error:
    return records.Rejected(photo.identity, photo.filename, str(error))
  return records.Entry(
    photo.identity,
    photo.filename,
    eyes,
    alignment.draw_boxes(photo.filename, size),
    face.opened,
    face.closed,
    blobs={'image': pictures.encode_jpeg(square)},
    corners=alignment.corners_in(face, matrix),
  )


@functools.cache
def _detector(detector: Callable, bundle: str | None):
  made = detector(bundle)
  # Close it when the process ends, a worker's as well.
  multiprocessing.util.Finalize(None, made.close, exitpriority=1)
  return made
