"""Cuts faces out of a photo, aligned as in the training records."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from exgan_jax.errors import InputError
from exgan_jax.face_records import alignment
from exgan_jax.face_records.alignment import Face, Point
from exgan_jax.face_records.codec import scale_points
from exgan_jax.face_records.record import OPEN_THRESHOLD
from exgan_jax.photo.photograph import Photograph

# Side of an aligned picture, as records hold them.
SIDE = 256
# MediaPipe sets the iris of a closed eye lower than that of an open one, by
# this part of the distance of the eyes: the mean over 44 faces with closed eyes
# and 132 with open ones, each measured from the corners of its eye.
_BEHIND_LIDS = 0.042
# An eye that does not count as closed by itself is open if it has less than
# this part of the other eye's blink score. The far eye of a
# face that is turned aside may have less, but more than an open one.
_WINK = 0.75
# MediaPipe's scores of both eyes influence each other: one eye is closed, too,
# if it has this score, and so many times that of the other one. This is so of
# 11 of 911 news photos, five of which show turned heads; with it all of
# 30 winks made of real blinks are seen (tests/benchmarks/identity.py).
_ONE_CLOSED, _TIMES = 0.22, 3.0
# What is copied of a reference photograph, beyond the eyes, per their distance:
# the frame of `transplant` reaches as far.
_AROUND = 1.4
# More pixels of a face than these are averaged before it is aligned: bicubic
# sampling, which alignment is by definition, would pick some and skip others.
_MOST = 2 * SIDE


@dataclasses.dataclass(frozen=True)
class AlignedFace:
  """A face, upright in a square.

  Attributes:
    face: where it is in its photograph.
    square: uint8 [256, 256, 3], sRGB.
    eyes: float32 [2, 2], centres in the square as (x, y) in pixels.
    matrix: float64 [2, 3], from the photograph's pixels to the square's.
    around: the part of the photograph around the eyes, in its own pixels.
    origin: float64 [2], where that part begins, as (x, y).
  """

  face: Face
  square: np.ndarray
  eyes: np.ndarray
  matrix: np.ndarray
  around: Photograph
  origin: np.ndarray

  @property
  def points(self) -> Float[np.ndarray, '3 2']:
    """The eyes and the mouth, (x, y) in the square."""
    points = np.array([*self.face.eyes, self.face.mouth])
    return points @ self.matrix[:, :2].T + self.matrix[:, 2]

  def at(
    self, resolution: int
  ) -> tuple[
    UInt8[np.ndarray, 'r r 3'],
    Float32[np.ndarray, '2 2'],
    Float[np.ndarray, '2 3'],
  ]:
    """Square, eyes and matrix at a resolution, as the input pipeline has it."""
    scale = resolution / SIDE
    square = self.square
    if resolution != SIDE:
      square = cv2.resize(
        square,
        (resolution, resolution),
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
      )
    matrix = self.matrix * scale
    matrix[:, 2] += 0.5 * scale - 0.5
    return square, scale_points(self.eyes, np.array(scale, np.float32)), matrix


def is_open(face: Face) -> bool:
  """Whether both eyes are, by the rule that sorts the training pictures.

  A wink that the rule overlooks is none either.
  """
  low, high = sorted(face.blinks)
  winks = high >= max(_ONE_CLOSED, _TIMES * low)
  return face.opened >= OPEN_THRESHOLD and not winks


def eyes_to_paint(face: Face, force: bool = False) -> tuple[bool, bool]:
  """Which eyes of a face to paint: left and right, as the viewer sees them.

  Of a wink the closed eye alone. Both where it is not known for each eye, and
  by force.
  """
  if force or any(math.isnan(blink) for blink in face.blinks):
    return True, True
  left, right = (
    1 - blink < OPEN_THRESHOLD or blink >= _WINK * max(face.blinks)
    for blink in face.blinks
  )
  return left, right


def opened_eyes(
  face: Face, eyes: Float32[np.ndarray, '2 2']
) -> Float32[np.ndarray, '2 2']:
  """Where the irises would be of an aligned face if its eyes were open."""
  if is_open(face):
    return eyes
  distance = np.linalg.norm(eyes[1] - eyes[0])
  return eyes - np.array([0, _BEHIND_LIDS * distance], np.float32)


def align_face(
  photograph: Photograph, image: UInt8[np.ndarray, 'h w 3'], face: Face
) -> AlignedFace:
  """Cuts a face out of a photo.

  Args:
    photograph: the photo, for its color profile.
    image: what `Photograph.seen` returned.
    face: in pixels of the photograph.

  Raises:
    InputError: an eye is outside the photograph, or the face has no area.
  """
  image, factor = reduce(image, alignment.CROP_PER_FACE * face.width / _MOST)
  to_reduced = np.linalg.inv(enlarging(factor))
  reduced = moved(face, to_reduced[:2])
  try:
    square, eyes = alignment.align(image, reduced, SIDE)
    crop = alignment.crop_of(reduced, image.shape[1], image.shape[0])
  except ValueError as error:
    raise InputError(str(error)) from error
  if not ((eyes >= 0) & (eyes < SIDE)).all():
    raise InputError('an eye is outside the picture')
  matrix = crop.matrix(SIDE) @ to_reduced
  around, origin = _around_eyes(photograph, face)
  square = photograph.to_srgb(square)
  return AlignedFace(face, square, eyes, matrix, around, origin)


def _around_eyes(
  photograph: Photograph, face: Face
) -> tuple[Photograph, Float[np.ndarray, ' 2']]:
  """Copies what is around the eyes."""
  eyes = np.array(face.eyes)
  reach = _AROUND * np.linalg.norm(eyes[1] - eyes[0])
  limit = np.array(photograph.size[::-1])
  low = np.clip(np.floor(eyes.min(axis=0) - reach), 0, limit - 1).astype(int)
  high = np.clip(np.ceil(eyes.max(axis=0) + reach), low + 1, limit).astype(int)
  part = photograph.pixels[low[1] : high[1], low[0] : high[0]].copy()
  return dataclasses.replace(photograph, pixels=part, data=b''), low


def reduce(
  image: UInt8[np.ndarray, 'h w 3'], factor: float
) -> tuple[UInt8[np.ndarray, 'i j 3'], int]:
  """Averages squares of pixels: of the largest whole side up to `factor`.

  Returns:
    The reduced picture, and that side.
  """
  whole = int(min(factor, *image.shape[:2]))
  if whole < 2:
    return image, 1
  height, width = (length // whole for length in image.shape[:2])
  part = np.ascontiguousarray(image[: height * whole, : width * whole])
  reduced = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
  return reduced, whole


def enlarging(factor: int) -> Float[np.ndarray, '3 3']:
  """From the pixels of what `reduce` returned to those of the picture."""
  shift = 0.5 * factor - 0.5
  return np.array([[factor, 0, shift], [0, factor, shift], [0, 0, 1.0]])


def moved(face: Face, matrix: Float[np.ndarray, '2 3']) -> Face:
  """The face as a similarity takes it."""
  scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))

  def move(point: Point) -> Point:
    x, y = (matrix @ [*point, 1]).tolist()
    return x, y

  x, y = move((face.x, face.y))
  corners = face.corners
  if corners is not None:
    a, b, c, d = map(move, corners)
    corners = a, b, c, d
  return dataclasses.replace(
    face,
    eyes=(move(face.both_eyes[0]), move(face.both_eyes[1])),
    mouth=face.mouth and move(face.mouth),
    corners=corners,
    x=x,
    y=y,
    width=face.width * scale,
    height=face.height * scale,
    roll=face.roll + float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))),
  )
