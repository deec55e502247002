"""Aligns a face in a photo with the geometry of Celeb-ID.

The photo is rotated around the center of the face until the eyes are level. A
box around the face is cropped and resized to a square (Dolhansky and Canton
Ferrer 2018, the alignment script of Celeb-ID).
"""

import dataclasses
import hashlib
import math

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

Point = tuple[float, float]

CROP_PER_FACE = 1.2
BOX_SIDE_256 = 96  # Largest side of an eye box in a picture of 256 px.


@dataclasses.dataclass(frozen=True)
class Face:
  """A face in a photo; positions and sizes in pixels, y pointing down.

  Left and right are those of the picture. Confidences are from 0 to 1. Unknown
  values are None or NaN.

  Attributes:
    eyes: centers (x, y) of the left and the right eye.
    mouth: center of the mouth.
    x: center of the face box.
    y: center of the face box.
    width: width of the face box.
    height: height of the face box.
    roll: degrees by which the line from the left to the right eye falls.
    opened: confidence that both eyes are open.
    closed: confidence that an eye is closed.
    yaw: degrees by which the right side of the face is turned away.
    pitch: degrees by which the chin is turned away.
    corners: corners of the eyes: outer and inner one of the left eye, inner and
      outer one of the right eye.
    blinks: confidences that the left and that the right eye is closed.
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

  @property
  def both_eyes(self) -> tuple[Point, Point]:
    """The centers of the eyes, of a face that has both.

    Raises:
      ValueError: one is unknown.
    """
    left, right = self.eyes
    if left is None or right is None:
      raise ValueError('an eye is unknown')
    return left, right


@dataclasses.dataclass(frozen=True)
class Crop:
  """The box in a rotated photo that becomes the aligned square.

  Attributes:
    rotation: maps points of the photo to points of the rotated photo.
    left: first column of the box in the rotated photo.
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
    """Returns the affine map from the photo to a square of `size` pixels.

    On both sides, (0, 0) is the center of the first pixel.
    """
    scale = np.array(
      [size / (self.right - self.left), size / (self.bottom - self.top)]
    )
    matrix = self.rotation * scale[:, None]
    # Resizing maps edges to edges, which are half a pixel from the centers.
    matrix[:, 2] += (0.5 - np.array([self.left, self.top])) * scale - 0.5
    return matrix


def face_center(face: Face) -> tuple[int, int]:
  """Returns the mean of eyes and mouth, or the center of the box."""
  points = [p for p in (*face.eyes, face.mouth) if p is not None]
  if len(points) < 3:
    return int(face.x), int(face.y)
  x, y = np.sum(points, axis=0) / len(points)
  return int(x), int(y)


def crop_of(face: Face, width: int, height: int) -> Crop:
  """Returns the crop for a face in a photo of `width` x `height` px.

  The box is 1.2 times the face box, shifted into the photo and at most as large
  as the photo.

  Raises:
    ValueError: the face box is empty.
  """
  x, y = face_center(face)
  left, right = _span(x, CROP_PER_FACE * face.width, width)
  top, bottom = _span(y, CROP_PER_FACE * face.height, height)
  rotation = cv2.getRotationMatrix2D((x, y), face.roll, 1.0)
  return Crop(rotation, left, top, right, bottom)


def _span(center: int, length: float, limit: int) -> tuple[int, int]:
  """Returns the first pixel of the box, and one past its last, on an axis."""
  # As in the original script, rounding comes last.
  length = min(length, limit)
  start, stop = center - length / 2, center + length / 2
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
  """Returns the aligned square of a face, and the eyes in it.

  Args:
    image: the photo.
    face: the face in it.
    size: side of the square in pixels.
    one_scale: scale the eyes' x like their y, as the original script does. This
      is only wrong where the photo is smaller than the box, which is then
      stretched to a square.

  Returns:
    The square, black outside of the photo, and the centers (x, y) of the left
    and the right eye in whole pixels, NaN if unknown.

  Raises:
    ValueError: the face box is empty.
  """
  height, width = image.shape[:2]
  crop = crop_of(face, width, height)
  # The same as rotating the whole photo and cropping the box.
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
  """Returns the corners (x, y) of the eyes in the aligned square.

  Args:
    face: the face in its photo.
    matrix: from `Crop.matrix`.

  Returns:
    In the order of `Face.corners`; NaN if unknown.
  """
  if face.corners is None:
    return np.full((4, 2), np.nan, np.float32)
  moved = np.asarray(face.corners) @ matrix[:, :2].T + matrix[:, 2]
  return moved.astype(np.float32)


def draw_boxes(filename: str, size: int) -> Float32[np.ndarray, '2 2']:
  """Samples the sizes of the two eye boxes of an aligned picture.

  Sides are |N(s / 2, s / 4)| clipped to [s / 2, s], independent of each other,
  with s = 96 at 256 px. The original script has no seed. Here the file name is
  the seed, so that every build hides the same part of a picture.

  Args:
    filename: name of the picture in its data set.
    size: side of the aligned picture in pixels.

  Returns:
    Width and height of the left and the right box in whole pixels.
  """
  side = BOX_SIDE_256 * size / 256
  digest = hashlib.sha256(filename.encode('utf-8', 'surrogatepass')).digest()
  draws = np.random.default_rng(int.from_bytes(digest[:8], 'big')).normal(
    side / 2, side / 4, size=(2, 2)
  )
  boxes = np.clip(np.abs(draws), side / 2, side)
  return np.trunc(boxes).astype(np.float32)
