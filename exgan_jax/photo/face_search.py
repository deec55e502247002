"""Finds all faces in a photo, including small and rotated ones.

The landmark bundle holds two networks: BlazeFace locates faces with a score,
and the landmark network examines each of them, turned upright. BlazeFace
reduces its input to 128 px, so it also gets parts of the photo. If no face
scores high, the photo is rotated by quarter turns as well.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import zipfile
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from exgan_jax.errors import InputError
from exgan_jax.face_records import landmarks
from exgan_jax.face_records.alignment import Face
from exgan_jax.photo.faces import enlarging, moved, reduce

_DETECTOR = 'face_detector.tflite'
_DETECTOR_BYTES = 2_000_000
_SURE = 0.5
# Faces that stand upright are seen with 0.9 or more, those that lean by half a
# quarter with 0.85, on their side with 0.8 at most, and upside down with 0.65.
_UPRIGHT = 0.82
# Sides of the parts per that of the photograph's shorter one. A face is seen
# that is an eighth of its part, and those up to a third lie whole in one of
# them, as parts overlap by that much.
_PARTS = (1 / 2, 1 / 4)
_SMALLEST_PART = 128  # In pixels: as many as BlazeFace looks at.
# Larger photographs are reduced to this, or at most twice as much.
_SHORTER_SIDE = 1024
# Parts of this level and the larger ones are looked at from all sides.
_TURNED_LEVELS = 2
# What the landmark network is shown: the face with its surroundings.
_SHOWN_PER_FACE = 3.0
_SHOWN_PIXELS = 768
# Nearer to each other than this, in widths of the wider one, two faces are one.
_SAME = 0.4


@dataclasses.dataclass(frozen=True)
class _Sight:
  """A face as BlazeFace has it: place and side in pixels, roll in degrees."""

  score: float
  x: float
  y: float
  width: float
  roll: float


class FaceFinder:
  """Finds the faces of photographs; use it as a context or `close` it.

  Args:
    bundle: path of the face landmark bundle; `landmarks.find_bundle` looks for
      it by default.

  Raises:
    InputError: there is no bundle, or MediaPipe is missing.
  """

  def __init__(self, bundle: str | os.PathLike | None = None):
    bundle = landmarks.find_bundle(bundle)
    self._landmarker = landmarks.FaceLandmarker(bundle)
    with landmarks.quiet_stderr():
      mediapipe = landmarks.import_mediapipe()
      vision = mediapipe.tasks.vision
      try:
        self._detector = vision.FaceDetector.create_from_options(
          vision.FaceDetectorOptions(
            base_options=mediapipe.tasks.BaseOptions(
              model_asset_buffer=_entry(bundle)
            ),
            min_detection_confidence=_SURE,
          )
        )
      except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f'{bundle} is not a face landmark bundle') from error
      landmarks.outlive_exit(self._detector)
      self._image = lambda pixels: mediapipe.Image(
        image_format=mediapipe.ImageFormat.SRGB,
        data=np.ascontiguousarray(pixels),
      )

  def __call__(self, image: UInt8[np.ndarray, 'h w 3']) -> list[Face]:
    """Returns the faces of an RGB photograph, from left to right."""
    sights = sorted(self._looks(image), key=lambda sight: -sight.score)
    faces = (self._face(image, sight) for sight in _distinct(sights))
    found = _distinct([face for face in faces if face is not None])
    return sorted(found, key=lambda face: face.x)

  def again(self, image: UInt8[np.ndarray, 'h w 3'], face: Face) -> Face | None:
    """Looks once more where a face was, if it is still seen as one."""
    return self._face(image, _Sight(1, face.x, face.y, face.width, face.roll))

  def close(self) -> None:
    with landmarks.quiet_stderr():
      self._detector.close()
    self._landmarker.close()

  def __enter__(self) -> FaceFinder:
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def _looks(self, image: np.ndarray) -> Iterator[_Sight]:
    """What is seen in the photograph and its parts, many faces repeatedly."""
    base, factor = reduce(image, min(image.shape[:2]) / _SHORTER_SIDE)
    levels = [(base, None)]
    for share in _PARTS:
      if (part := round(share * min(base.shape[:2]))) >= _SMALLEST_PART:
        levels.append((base, part))
    sights = [s for level in levels for s in self._in_parts(*level)]
    # Nobody who stands upright is on a photograph that lies on its side.
    if max((sight.score for sight in sights), default=0) < _UPRIGHT:
      for quarters, (shown, part) in itertools.product(
        (1, 2, 3), levels[:_TURNED_LEVELS]
      ):
        turned = np.ascontiguousarray(np.rot90(shown, -quarters))
        sights += [
          _turned_back(sight, quarters, turned.shape[:2])
          for sight in self._in_parts(turned, part)
        ]
    for sight in sights:
      yield _scaled(sight, factor)

  def _in_parts(self, image: np.ndarray, side: int | None) -> Iterator[_Sight]:
    if side is None:
      yield from self._sights(image)
      return
    starts = (_starts(length, side) for length in image.shape[:2])
    for top, left in itertools.product(*starts):
      part = image[top : top + side, left : left + side]
      for sight in self._sights(part):
        yield dataclasses.replace(sight, x=sight.x + left, y=sight.y + top)

  def _sights(self, image: np.ndarray) -> list[_Sight]:
    height, width = image.shape[:2]
    found = []
    with landmarks.quiet_stderr():
      detections = self._detector.detect(self._image(image)).detections
    for detection in detections:
      box = detection.bounding_box
      left, right = detection.keypoints[:2]
      across = (right.x - left.x) * width, (right.y - left.y) * height
      found.append(
        _Sight(
          detection.categories[0].score,
          box.origin_x + box.width / 2,
          box.origin_y + box.height / 2,
          max(box.width, box.height),
          float(np.degrees(np.arctan2(across[1], across[0]))),
        )
      )
    return found

  def _face(self, image: np.ndarray, sight: _Sight) -> Face | None:
    """The face that is seen, if the landmark network finds it as well."""
    if sight.width < 1:
      return None
    side = _SHOWN_PER_FACE * sight.width
    shown = min(_SHOWN_PIXELS, max(64, round(side)))
    to_shown = cv2.getRotationMatrix2D(
      (sight.x, sight.y), sight.roll, shown / side
    )
    to_shown[0, 2] += shown / 2 - sight.x
    to_shown[1, 2] += shown / 2 - sight.y
    upright = _cut(image, to_shown, shown)
    faces = [
      moved(face, cv2.invertAffineTransform(to_shown))
      for face in self._landmarker.detect(upright)
    ]
    near = [face for face in faces if _is_same(face, sight)]
    return min(near, key=lambda face: _apart(face, sight), default=None)


def _entry(bundle: os.PathLike) -> bytes:
  """Returns BlazeFace's file from the bundle."""
  try:
    with zipfile.ZipFile(bundle) as archive:
      entry = archive.getinfo(_DETECTOR)
      if entry.file_size > _DETECTOR_BYTES:
        raise InputError(f'{bundle} is not a face landmark bundle')
      return archive.read(entry)
  except (zipfile.BadZipFile, KeyError, OSError, RuntimeError) as error:
    raise InputError(f'{bundle} is not a face landmark bundle') from error


def _starts(length: int, side: int) -> list[int]:
  """Where parts begin that overlap by a third, and reach both ends."""
  count = -(-3 * (length - side) // (2 * side)) + 1
  return [round(i * (length - side) / max(count - 1, 1)) for i in range(count)]


def _cut(
  image: np.ndarray, matrix: Float[np.ndarray, '2 3'], side: int
) -> np.ndarray:
  """A square of a photograph, smoothed first where it gets smaller."""
  back = cv2.invertAffineTransform(matrix)
  middle = back @ [side / 2, side / 2, 1]
  scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
  # Only the part of the photo that the square can touch.
  reach = 0.75 * side / scale + 2
  left, top = np.maximum(middle - reach, 0).astype(int)
  right, bottom = np.maximum(middle + reach, 1).astype(int)
  part = image[top:bottom, left:right]
  part, factor = reduce(part, 1 / scale)
  to_part = np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
  return cv2.warpAffine(
    part,
    matrix @ to_part @ enlarging(factor),
    (side, side),
    borderMode=cv2.BORDER_REPLICATE,
  )


def _apart(one, other) -> float:
  return float(np.hypot(one.x - other.x, one.y - other.y))


def _is_same(one, other) -> bool:
  return _apart(one, other) < _SAME * max(one.width, other.width)


def _distinct(faces: list) -> list:
  """Drops faces that were already seen in the list."""
  kept: list = []
  for face in faces:
    if not any(_is_same(face, other) for other in kept):
      kept.append(face)
  return kept


def _turned_back(sight: _Sight, quarters: int, size: tuple[int, int]) -> _Sight:
  """From a photograph that was turned clockwise to how it was."""
  height, width = size
  for _ in range(quarters):
    sight = dataclasses.replace(
      sight, x=sight.y, y=width - 1 - sight.x, roll=sight.roll - 90
    )
    height, width = width, height
  return sight


def _scaled(sight: _Sight, factor: int) -> _Sight:
  x, y = (enlarging(factor) @ [sight.x, sight.y, 1])[:2]
  return dataclasses.replace(sight, x=x, y=y, width=sight.width * factor)
