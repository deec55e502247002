"""What the page of `exgan app` does, whoever draws it."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
import threading

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from exgan_jax.errors import InputError
from exgan_jax.photo import faces, photograph, reader, writer
from exgan_jax.photo.inpainter import Inpainter, Options
from exgan_jax.photo.result import Result, check_painted

# A drawn person who blinked, and the same one with open eyes elsewhere.
EXAMPLE = pathlib.Path(__file__).parent / 'example'
MOST_REFERENCES = 20
# Pictures are shown with at most so many pixels a side.
_SHOWN = 1400
CLOSED, ALL = 'the one with closed eyes', 'all with closed eyes'


class Page:
  """What the page does; each method is one action of the user's.

  Args:
    inpainter: that paints; one photograph at a time.
    folder: for results.
  """

  def __init__(self, inpainter: Inpainter, folder: pathlib.Path):
    self._inpainter, self._folder = inpainter, folder
    self._lock = threading.Lock()

  def warm_up(self) -> None:
    """Paints the drawn example, so that nobody waits for the compiler."""
    self.paint(*self.example())

  def example(self) -> tuple[str, list[str]]:
    """Copies the drawn photograph and its reference; returns their paths."""
    folder = tempfile.mkdtemp(dir=self._folder)
    photo, reference = (
      shutil.copy(EXAMPLE / name, folder)
      for name in ('blinked.jpg', 'open.jpg')
    )
    return photo, [reference]

  def look(self, photo: str | None) -> tuple[UInt8[np.ndarray, 'h w 3'], int]:
    """The photograph with its faces numbered, and how many there are.

    Raises:
      InputError: it cannot be read.
    """
    picture = _read(photo)
    with self._lock:
      image = picture.seen()
      found = self._inpainter.find(image)
    shown = Image.fromarray(_shown(picture.to_srgb(image)))
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

  def paint(
    self,
    photo: str | None,
    references: list[str] | None,
    which: str = CLOSED,
    force: bool = False,
  ) -> tuple[np.ndarray, np.ndarray, str, str]:
    """Paints.

    Returns:
      Before and after, as they are shown; the file to download, the same bytes
      as `exgan inpaint` writes; and what was done.

    Raises:
      InputError: something cannot be read, or there is nothing to paint.
    """
    picture = _read(photo)
    assert photo is not None  # `_read` has refused it.
    if not references:
      raise InputError('a picture with open eyes is missing')
    if len(references) > MOST_REFERENCES:
      raise InputError(f'at most {MOST_REFERENCES} reference pictures')
    for path in references:
      if _read(path).data == picture.data:
        raise InputError('the reference is the photo itself; use another photo')
    face = int(which.removeprefix('face ')) if which[-1:].isdigit() else None
    options = Options(face, which == ALL, force)
    with self._lock:
      candidates = self._inpainter.candidates(references)
      result = self._inpainter.open_eyes(picture, candidates, options)
    check_painted(result)
    before, after = (
      _shown(p.to_srgb(p.seen())) for p in (picture, result.photograph)
    )
    return before, after, self._save(result, photo), _told(result)

  def _save(self, result: Result, photo: str) -> str:
    suffix = pathlib.Path(photo).suffix.lower()
    if suffix not in photograph.suffixes():
      suffix = '.png'
    folder = tempfile.mkdtemp(dir=self._folder)
    path = pathlib.Path(folder) / f'{pathlib.Path(photo).stem}-open{suffix}'
    writer.save(result.photograph, path)
    return os.fspath(path)


def _read(path: str | None) -> photograph.Photograph:
  if not path:
    raise InputError('the photograph is missing')
  try:
    return reader.read(path)
  except InputError as error:
    # The user has not seen the folder that it is in.
    name = pathlib.Path(path).name
    raise InputError(str(error).replace(str(path), name)) from error


def _shown(image: np.ndarray) -> np.ndarray:
  scale = _SHOWN / max(image.shape)
  if scale >= 1:
    return image
  return cv2.resize(
    image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
  )


def _told(result: Result) -> str:
  lines = []
  for found in result.faces:
    line = f'- Face {found.number}: {found.done}'
    if found.choice is not None:
      name = pathlib.Path(found.choice.candidate.name).name
      line += f': {found.painted_eyes} from {name}'
    if found.closed_after is not None:
      line += f'; closed {found.face.closed:.2f} → {found.closed_after:.2f}'
    lines.append(line)
  return '\n'.join(lines)
