"""Pictures of a photo's faces, and of what was done with them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from exgan_jax import contact_sheet
from exgan_jax.photo import faces
from exgan_jax.photo.inpainter import Inpainter
from exgan_jax.photo.photograph import Photograph
from exgan_jax.photo.result import FaceResult

# Pictures are shown with at most so many pixels a side.
_SHOWN = 1400


def numbered_faces(
  inpainter: Inpainter, picture: Photograph
) -> tuple[UInt8[np.ndarray, 'h w 3'], int]:
  """Draws the photograph with its faces numbered, and counts them."""
  image = picture.seen()
  found = inpainter.find(image)
  shown = Image.fromarray(fitted(picture.to_srgb(image)))
  scale = shown.width / image.shape[1]
  draw = ImageDraw.Draw(shown)
  for number, face in enumerate(found, 1):
    half = 0.4 * face.width * scale
    x, y = face.x * scale, face.y * scale
    draw.ellipse((x - half, y - half, x + half, y + half), outline='white',
                 width=3)  # fmt: skip
    font = ImageFont.load_default(max(14, half / 4))
    text = f'{number}: {"open" if faces.is_open(face) else "closed"}'
    draw.text((x, y + half), text, 'white', font, anchor='md',
              stroke_width=2, stroke_fill='black')  # fmt: skip
  return np.asarray(shown), len(found)


def fitted(image: UInt8[np.ndarray, 'h w 3']) -> UInt8[np.ndarray, 'i j 3']:
  """Reduces a picture to what fits a screen."""
  scale = _SHOWN / max(image.shape)
  if scale >= 1:
    return image
  return cv2.resize(
    image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
  )


def comparison(painted: Sequence[FaceResult]):
  """Draws a row for every painted face: reference, before, after."""
  rows = [
    (found.choice.candidate.aligned, found.before, found.after)
    for found in painted
    if found.choice and found.before and found.after
  ]
  names = ('reference', 'before', 'after')
  return contact_sheet.make_sheet(
    {
      name: np.stack([row[i].square for row in rows])
      for i, name in enumerate(names)
    },
    {
      'eyes': np.stack([before.eyes for _, before, _ in rows]),
      'reference_eyes': np.stack([reference.eyes for reference, _, _ in rows]),
    },
    side=256,
  )
