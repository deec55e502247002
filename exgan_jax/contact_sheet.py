"""Contact sheets: rows of pictures, each with a zoomed strip of its eyes."""

from __future__ import annotations

import io
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from exgan_jax import files

MARGIN = 4
CAPTION_HEIGHT = 18
BACKGROUND = (250, 250, 250)
INK = (40, 40, 40)
# Arrays of a batch with eye centers; columns use `eyes` unless listed here.
PLACES = ('eyes', 'reference_eyes', 'stranger_eyes')
EYES_OF = {'reference': 'reference_eyes', 'stranger': 'stranger_eyes'}


def eye_strip(image: np.ndarray, eyes: np.ndarray, width: int) -> np.ndarray:
  """Cuts out the region of both eyes and enlarges it to a width.

  Takes uint8 [h, w, 3] and eye centers [2, 2] as (x, y); returns uint8
  [2 * width // 5, width, 3], black outside the picture.
  """
  span = 1.9 * max(float(np.linalg.norm(eyes[1] - eyes[0])), 8.0)
  x, y = eyes.mean(axis=0)
  left, top = x - span / 2, y - span / 5
  box = (left, top, left + span, top + 2 * span / 5)
  strip = Image.fromarray(image).transform(
    (width, 2 * width // 5),
    Image.Transform.EXTENT,
    box,
    Image.Resampling.BICUBIC,
  )
  return np.asarray(strip)


def make_sheet(
  columns: dict[str, np.ndarray],
  places: dict[str, np.ndarray],
  side: int = 128,
) -> Image.Image:
  """Draws one row per picture and one captioned column per kind.

  Args:
    columns: caption to uint8 [n, h, w, 3].
    places: the arrays of `PLACES` that the columns need, float32 [n, 2, 2].
    side: of a picture on the sheet in pixels.
  """
  rows = len(next(iter(columns.values())))
  row_height = side + 2 * side // 5 + 2 * MARGIN
  width = MARGIN + len(columns) * (side + MARGIN)
  height = CAPTION_HEIGHT + MARGIN + rows * row_height
  sheet = Image.new('RGB', (width, height), BACKGROUND)
  draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
  for column, (caption, images) in enumerate(columns.items()):
    x = MARGIN + column * (side + MARGIN)
    draw.text((x + 2, 3), caption, INK, font=font)
    eyes = places[EYES_OF.get(caption, 'eyes')]
    for row in range(rows):
      y = CAPTION_HEIGHT + row * row_height
      picture = Image.fromarray(images[row]).resize(
        (side, side), Image.Resampling.BICUBIC
      )
      strip = eye_strip(images[row], eyes[row], side)
      sheet.paste(picture, (x, y))
      sheet.paste(Image.fromarray(strip), (x, y + side))
  return sheet


def save(sheet: Image.Image, path: pathlib.Path) -> None:
  """Writes a sheet as PNG, atomically, and creates its folder.

  Raises:
    OSError: it cannot be written.
  """
  file = io.BytesIO()
  sheet.save(file, format='PNG')
  files.write_bytes(path, file.getvalue())


def to_uint8(image: np.ndarray) -> np.ndarray:
  """Rounds float pictures of any shape in [0, 1] to uint8 in [0, 255]."""
  return np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
