"""Draws hole, reference, result and truth of open-eyed pairs, at full size.

python tests/benchmarks/figure.py PHOTO REFERENCE [PHOTO REFERENCE ...]
    --output FILE [--workdir W]

Each photograph's eyes are hidden and painted from the reference of the same
person. The model never sees what the hole hides, so the photograph itself is
the truth.
"""

import argparse
import pathlib

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from exgan_jax.photo import reader, transplant
from exgan_jax.photo.inpainter import Inpainter
from exgan_jax.photo.selection import Options

# What is shown around the eyes, per distance of the outer corners, and how
# wide that is in the figure, in pixels.
ACROSS, DOWN, WIDTH = 2.0, 0.9, 440
NAMES = ('hole', 'reference', 'result', 'truth')
GREY = 128


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('pictures', nargs='+', metavar='PHOTO REFERENCE')
  parser.add_argument('--workdir')
  parser.add_argument('--output', type=pathlib.Path, required=True)
  arguments = parser.parse_args()
  pairs = zip(arguments.pictures[::2], arguments.pictures[1::2], strict=True)
  with Inpainter.from_workdir(arguments.workdir) as inpainter:
    rows = [np.hstack(_row(inpainter, *pair)) for pair in pairs]
  figure = Image.fromarray(np.vstack([_captions(rows[0].shape[1]), *rows]))
  figure.save(arguments.output, quality=90, subsampling=0)


def _row(inpainter: Inpainter, photo: str, other: str) -> list[np.ndarray]:
  picture = reader.load(photo)
  result = inpainter.open_eyes(
    picture, inpainter.candidates([other]), Options(force=True)
  )
  (found,) = result.painted
  reference = found.choice.candidate.aligned
  truth, shown = picture.seen(), reader.load(other).seen()
  corners, other_corners = transplant.corners_of(found.before, reference)
  hole = transplant.hole_of(corners, picture.size)[..., None]
  holed = np.round(truth * (1 - hole) + GREY * hole).astype(np.uint8)
  return [
    _cut(holed, corners),
    _cut(shown, other_corners),
    _cut(result.photograph.seen(), corners),
    _cut(truth, corners),
  ]


def _cut(image: np.ndarray, corners: np.ndarray) -> np.ndarray:
  """What is around the eyes, upright."""
  height = round(WIDTH * DOWN / ACROSS)
  x = np.array([-0.5, -0.18, 0.18, 0.5]) / ACROSS * WIDTH + WIDTH / 2
  places = np.stack([x, np.full(4, 0.5 * height)], axis=1)
  matrix = transplant.similarity(corners, places)
  return cv2.warpAffine(image, matrix, (WIDTH, height), flags=cv2.INTER_AREA)


def _captions(width: int) -> np.ndarray:
  strip = Image.new('RGB', (width, 32), 'white')
  draw = ImageDraw.Draw(strip)
  for number, name in enumerate(NAMES):
    place = ((number + 0.5) * width / len(NAMES), 16)
    draw.text(place, name, 'black', ImageFont.load_default(20), anchor='mm')
  return np.asarray(strip)


if __name__ == '__main__':
  main()
