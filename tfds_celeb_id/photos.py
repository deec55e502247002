"""From a photograph on disk to an aligned picture: one call, in any process."""

import dataclasses
import functools
import multiprocessing.util
from collections.abc import Callable

from exgan_jax.face_records import alignment, pictures
from exgan_jax.face_records.alignment import Face
from tfds_celeb_id import records

# A face narrower than this part of the widest one is in the background. In news
# photographs that is where all of them are up to here; beyond it, nobody but
# the photographer can tell whose picture it is.
SECOND_FACE = 0.6
# A face box narrower than this, in pixels, leaves less than ten for an eye.
MIN_FACE_PIXELS = 48


class NotOneFaceError(pictures.UnusablePictureError):
  """The picture does not show exactly one face that can be used."""


@dataclasses.dataclass(frozen=True)
class Photo:
  """A photograph to be aligned: where it is, and what it is called."""

  path: str
  identity: str
  filename: str


def the_face(faces: list[Face]) -> Face:
  """Returns the one usable face of a picture.

  Raises:
    NotOneFaceError: there is none, or more than one.
  """
  if not faces:
    raise NotOneFaceError('no face')
  widest = max(face.width for face in faces)
  if widest < MIN_FACE_PIXELS:
    raise NotOneFaceError('face too small')
  usable = [
    face
    for face in faces
    if face.width >= max(MIN_FACE_PIXELS, SECOND_FACE * widest)
  ]
  if len(usable) > 1:
    raise NotOneFaceError('more than one face')
  return usable[0]


def align_photo(
  photo: Photo, detector: Callable, bundle: str | None, size: int
) -> records.Entry | records.Rejected:
  """Reads, finds the face, aligns and encodes.

  Args:
    photo: what to read.
    detector: `landmarks.FaceLandmarker`, or what else has its methods; made
      once in each process.
    bundle: what the detector is made from.
    size: side of the aligned picture.
  """
  try:
    image = pictures.read_picture(photo.path)
    face = the_face(_detector(detector, bundle).detect(image))
    square, eyes = alignment.align(image, face, size)
    height, width = image.shape[:2]
    matrix = alignment.crop_of(face, width, height).matrix(size)
    if not ((eyes >= 0) & (eyes < size)).all():
      raise pictures.UnusablePictureError('an eye is outside the picture')
  except pictures.UnusablePictureError as error:
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
  # As the process ends, a worker or the main one.
  multiprocessing.util.Finalize(None, made.close, exitpriority=1)
  return made
