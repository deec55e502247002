"""Draws a face: background, hair, skin, mouth, brows, eyes, glasses, camera.

Uses only NumPy and OpenCV. A picture only depends on its person and scene.
"""

import dataclasses
import functools

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from tfds_celeb_id.synth_id import eyes, head, skin
from tfds_celeb_id.synth_id.hair import Hair
from tfds_celeb_id.synth_id.traits import (
  Person,
  Scene,
  sample_person,
  sample_scene,
  stream,
)

__all__ = [
  'Person',
  'Rendering',
  'Scene',
  'render',
  'sample_person',
  'sample_scene',
]

_OVERSAMPLING = 2
_LEVELS = 16384  # of the table from linear light, 0.._BRIGHTEST, to sRGB
_BRIGHTEST = 2.5
_KNEE = 0.5  # linear light above which highlights are compressed


@dataclasses.dataclass(frozen=True)
class Rendering:
  """A picture and its eyes; left and right as in the picture.

  Positions are in pixels from the upper left corner of the picture.

  Attributes:
    image: sRGB.
    eyes: centers (x, y) of the left and the right eye.
    irises: centers (x, y) and radii of their irises, as with open eyes.
    corners: corners (x, y) of the lids: outer and inner one of the left eye,
      inner and outer one of the right eye.
  """

  image: UInt8[np.ndarray, 'size size 3']
  eyes: Float[np.ndarray, '2 2']
  irises: Float[np.ndarray, '2 3']
  corners: Float[np.ndarray, '4 2']


def render(
  person: Person, scene: Scene, size: int = 128, eyes_closed: bool = False
) -> Rendering:
  """Draws a picture of a person.

  The same arguments give the same bytes. Closed eyes and the traits of the eyes
  only change pixels within 12/128 of the picture's side of an eye's center, in
  x and in y.

  Args:
    person: the person.
    scene: pose, light, expression, surroundings, camera.
    size: side of the picture in pixels, at least 64.
    eyes_closed: draw the same scene with closed lids.

  Raises:
    ValueError: the size is less than 64.
  """
  if size < 64:
    raise ValueError(f'size must be at least 64 pixels, got {size}')
  # The relief is smooth, so half the resolution is enough.
  small = head.Head(person, scene, size)
  large = head.Head(person, scene, _OVERSAMPLING * size)
  outline = small.outline()
  light, gloss = head.shade(small, small.relief(outline))
  light = np.stack([_enlarge(plane) for plane in light])
  gloss, outline = _enlarge(gloss), _enlarge(outline)

  picture = _background(large)
  hair = Hair(large)
  hair.paint_back(picture)
  skin.paint_neck(picture, large)
  skin.paint_ears(picture, large)
  skin.paint_face(picture, large, outline, light, gloss)
  skin.paint_brows(picture, large, light)
  hair.paint_front(picture)
  if person.face.glasses:
    skin.paint_glasses(picture, large, light)
  # Face and eyes are blurred separately, so that no eye leaves its box.
  sigma = max(scene.blur * large.pixels / 128, 0.1)
  for plane in picture:
    cv2.GaussianBlur(plane, (0, 0), sigma, dst=plane)
  for side in (-1, 1):
    eyes.paint_eye(picture, light, large, side, eyes_closed, sigma)
  centers = [small.to_pixels(*small.eye(side)) for side in (-1, 1)]
  image = _photograph(picture, scene, size)
  irises = [eyes.iris(small, side) for side in (-1, 1)]
  outer_left, inner_left = eyes.corners(small, -1)
  outer_right, inner_right = eyes.corners(small, 1)
  corners = [outer_left, inner_left, inner_right, outer_right]
  return Rendering(
    image, *(np.array(each, np.float32) for each in (centers, irises, corners))
  )


def _enlarge(plane: np.ndarray) -> np.ndarray:
  return cv2.resize(plane, None, fx=_OVERSAMPLING, fy=_OVERSAMPLING)


def _background(large: head.Head) -> np.ndarray:
  """Returns a planar picture of a blurred room in the scene's colors."""
  scene, cells = large.scene, 32
  rng = stream(scene.noise_seed, 'background')
  mix = head.noise(rng, (cells, cells), (3, 3))
  for _ in range(rng.integers(5)):
    x, y = np.maximum(rng.integers(-8, cells, 2), 0)
    wide, high = rng.integers(4, 28, 2)
    mix[y : y + high, x : x + wide] += rng.uniform(-0.8, 0.8)
  mix = cv2.resize(mix, (large.pixels, large.pixels))
  first, second = (head.linear(rgb) for rgb in scene.background)
  mix = head.smoothstep(-0.8, 0.8, mix)
  return (first + mix * (second - first)) * np.float32(scene.exposure)


def _photograph(picture: np.ndarray, scene: Scene, size: int) -> np.ndarray:
  """Sensor and sRGB encoding of a planar linear picture."""
  photograph = cv2.resize(
    cv2.merge(list(picture)), (size, size), interpolation=cv2.INTER_AREA
  )
  levels = (_LEVELS - 1) / _BRIGHTEST
  codes = np.clip(photograph * levels, 0, _LEVELS - 1).astype(np.uint16)
  rng = stream(scene.noise_seed, 'sensor')
  grain = rng.standard_normal(codes.shape, np.float32)
  encoded = _encoding()[codes] + (255 * scene.noise) * grain
  return np.clip(encoded + 0.5, 0, 255).astype(np.uint8)


@functools.cache
def _encoding() -> np.ndarray:
  """sRGB 0..255 (IEC 61966-2-1) of `_LEVELS` linear values."""
  c = np.linspace(0, _BRIGHTEST, _LEVELS)
  # Highlights saturate gradually, as on film.
  c = np.where(
    c < _KNEE, c, 1 - (1 - _KNEE) * np.exp((_KNEE - c) / (1 - _KNEE))
  )
  curve = np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)
  return (255 * curve).astype(np.float32)
