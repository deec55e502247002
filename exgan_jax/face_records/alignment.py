"""The geometry of Celeb-ID: from a photograph and a face to an aligned square.

The whole picture is turned about the centre of the face until the eyes are
level, a box around the face is cut out, and the box becomes a square (Dolhansky
and Canton Ferrer 2018, the alignment script of Celeb-ID). Everything here is a
pure function of its arguments.
"""

import dataclasses
import hashlib
import math

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

Point = tuple[float, float]

CROP_PER_FACE = 1.2
BOX_SIDE_256 = 96  # The largest side of an eye box in a picture of 256 px.


@dataclasses.dataclass(frozen=True)
class Face:
  """A face in a photograph; positions and sizes in pixels, y pointing down.

  Attributes:
    eyes: centres of the left and the right eye, as the viewer sees them; None
      where unknown.
    mouth: centre of the mouth, or None.
    x: centre of the face box.
    y: centre of the face box.
    width: width of the face box.
    height: height of the face box.
    roll: degrees by which the line from the left to the right eye falls.
    opened: how sure it is that both eyes are open, 0 to 1; NaN if unknown.
    closed: how sure it is that an eye is closed, 0 to 1; NaN if unknown.
    yaw: degrees by which the right side of the face is turned away from the
      camera; NaN if unknown.
    pitch: degrees by which the chin is; NaN if unknown.
    corners: of the eyes, outer and inner one of the left eye, then inner and
      outer one of the right eye; None if unknown.
    blinks: how sure it is that the left and that the right eye is closed, as
      the viewer sees them, 0 to 1; NaN if unknown.
  """

  eyes: tuple[Point | None, Point | None]
  mouth: Point | None
  x: float
  y: float
  width: float
  height: float
  roll: float
  opened: float = math.nan
  closed: float = math.nan
  yaw: float = math.nan
  pitch: float = math.nan
  corners: tuple[Point, Point, Point, Point] | None = None
  blinks: tuple[float, float] = (math.nan, math.nan)


@dataclasses.dataclass(frozen=True)
class Crop:
  """Where an aligned square comes from in its photograph.

  Attributes:
    rotation: maps points of the photograph to points of the turned photograph.
    left: first column of the box in the turned photograph.
    top: first row.
    right: one past the last column.
    bottom: one past the last row.
  """

  rotation: Float[np.ndarray, '2 3']
  left: int
  top: int
  right: int
  bottom: int

  def matrix(self, size: int) -> Float[np.ndarray, '2 3']:
    """Returns the map from pixel centres of the photograph to the square's.

    Its inverse (`cv2.invertAffineTransform`) takes a result back to the
    photograph.
    """
    scale = np.array(
      [size / (self.right - self.left), size / (self.bottom - self.top)]
    )
    matrix = self.rotation * scale[:, None]
    # Resizing keeps the outer edges in place, and a pixel's centre lies half
    # a pixel from its edge.
    matrix[:, 2] += (0.5 - np.array([self.left, self.top])) * scale - 0.5
    return matrix


def face_centre(face: Face) -> tuple[int, int]:
  """Returns the point to turn about: the mean of eyes and mouth if known."""
  points = [p for p in (*face.eyes, face.mouth) if p is not None]
  if len(points) < 3:
    return int(face.x), int(face.y)
  x, y = np.sum(points, axis=0) / len(points)
  return int(x), int(y)


def crop_of(face: Face, width: int, height: int) -> Crop:
  """Returns the crop for a face in a photograph of `width` x `height` px.

  The box is 1.2 times the face box, shifted to stay inside the photograph and
  never larger than it.

  Raises:
    ValueError: the face has no area, or no part of its box can be used.
  """
  x, y = face_centre(face)
  left, right = _span(x, CROP_PER_FACE * face.width, width)
  top, bottom = _span(y, CROP_PER_FACE * face.height, height)
  rotation = cv2.getRotationMatrix2D((x, y), face.roll, 1.0)
  return Crop(rotation, left, top, right, bottom)


def _span(centre: int, length: float, limit: int) -> tuple[int, int]:
  """Returns the first and the one-past-last pixel of one side of the box."""
  # Whole pixels only at the end, as the original does.
  length = min(length, limit)
  start, stop = centre - length / 2, centre + length / 2
  if start < 0:
    start, stop = 0, length
  elif stop >= limit:
    start, stop = limit - length, limit
  if int(stop) <= int(start):
    raise ValueError('the face box is empty')
  return int(start), int(stop)


def align(
  image: UInt8[np.ndarray, 'h w 3'],
  face: Face,
  size: int = 256,
  one_scale: bool = False,
) -> tuple[UInt8[np.ndarray, 's s 3'], Float32[np.ndarray, '2 2']]:
  """Turns a photograph upright and cuts its face out as a square.

  Args:
    image: the photograph.
    face: the face in it.
    size: side of the square in pixels.
    one_scale: scale the eyes' x like their y, as the original script does. It
      differs only where the photograph is smaller than the box, so that the
      square is stretched; there the original's eyes are off.

  Returns:
    The square, black where it leaves the photograph, and the eyes in it (left,
    right; x, y) in whole pixels, NaN where unknown.

  Raises:
    ValueError: the face box is empty.
  """
  height, width = image.shape[:2]
  crop = crop_of(face, width, height)
  # As if the whole photograph were turned and the box cut out of it.
  box = crop.rotation - [[0, 0, crop.left], [0, 0, crop.top]]
  turned = cv2.warpAffine(
    image,
    box,
    (crop.right - crop.left, crop.bottom - crop.top),
    flags=cv2.INTER_CUBIC,
  )
  square = cv2.resize(turned, (size, size), interpolation=cv2.INTER_CUBIC)
  scale_y = size / (crop.bottom - crop.top)
  scale_x = scale_y if one_scale else size / (crop.right - crop.left)
  eyes = np.full((2, 2), np.nan, np.float32)
  for i, eye in enumerate(face.eyes):
    if eye is not None:
      x, y = crop.rotation @ (*eye, 1.0)
      eyes[i] = int((x - crop.left) * scale_x), int((y - crop.top) * scale_y)
  return square, eyes


def corners_in(
  face: Face, matrix: Float[np.ndarray, '2 3']
) -> Float32[np.ndarray, '4 2']:
  """Returns the corners of the eyes where a matrix takes them.

  Args:
    face: the face in its photograph.
    matrix: from the photograph's pixels, as `Crop.matrix` returns it.

  Returns:
    In the order of `Face.corners`, as (x, y); NaN if unknown.
  """
  if face.corners is None:
    return np.full((4, 2), np.nan, np.float32)
  moved = np.asarray(face.corners) @ matrix[:, :2].T + matrix[:, 2]
  return moved.astype(np.float32)


def draw_boxes(filename: str, size: int) -> Float32[np.ndarray, '2 2']:
  """Draws the sizes of the two eye boxes of an aligned picture.

  Sides are |N(s / 2, s / 4)| clipped to [s / 2, s], independent of each other,
  with s = 96 at 256 px. The original drew them without a seed; here they follow
  from the file name, so that every build and every size hides the same part of
  a picture.

  Args:
    filename: the picture's name in its data set.
    size: side of the aligned picture in pixels.

  Returns:
    Width and height of the left and of the right box in whole pixels.
  """
  side = BOX_SIDE_256 * size / 256
  digest = hashlib.sha256(filename.encode('utf-8')).digest()
  draws = np.random.default_rng(int.from_bytes(digest[:8], 'big')).normal(
    side / 2, side / 4, size=(2, 2)
  )
  boxes = np.clip(np.abs(draws), side / 2, side)
  return np.trunc(boxes).astype(np.float32)
