"""What the page of `exgan app` does, whoever draws it."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
import threading
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from exgan_jax.errors import InputError
from exgan_jax.photo import drawings, photograph, reader, writer
from exgan_jax.photo.inpainter import Inpainter
from exgan_jax.photo.result import PAINTED, Result, check_painted
from exgan_jax.photo.selection import Options

# A drawn person who blinked, and the same one with open eyes elsewhere.
EXAMPLE = pathlib.Path(__file__).parent / 'example'
MOST_REFERENCES = 20
# Results to choose from.
CANDIDATES = 3
CLOSED, ALL = 'the one with closed eyes', 'all with closed eyes'


class Shown(NamedTuple):
  """A result as the page shows it.

  Attributes:
    before: the photograph.
    after: the result.
    path: the file to download, the same bytes as `exgan inpaint` writes.
    told: what was done.
  """

  before: np.ndarray
  after: np.ndarray
  path: str
  told: str


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
      return drawings.numbered_faces(self._inpainter, picture)

  def paint(
    self,
    photo: str | None,
    references: list[str] | None,
    which: str = CLOSED,
    force: bool = False,
  ) -> list[Shown]:
    """Paints, after each of the best references.

    Returns:
      The results, the best reference first.

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
      results = self._inpainter.alternatives(
        picture, candidates, options, CANDIDATES
      )
    shown = []
    for result in results:
      check_painted(result)
      before, after = (
        drawings.fitted(p.to_srgb(p.seen()))
        for p in (picture, result.photograph)
      )
      path, told = self._save(result, photo), _told(result)
      shown.append(Shown(before, after, path, told))
    return shown

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


def _told(result: Result) -> str:
  lines = []
  for found in result.faces:
    line = f'- Face {found.number}: {found.done}'
    if found.done == PAINTED and found.choice is not None:
      name = pathlib.Path(found.choice.candidate.name).name
      line += f' {found.painted_eyes} from {name}: {found.choice.words()}'
      if found.note:
        line += f'. Note: {found.note}'
    lines.append(line)
  return '\n'.join(lines)
