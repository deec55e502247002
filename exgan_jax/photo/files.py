"""Photographs on disk: one, or a folder of them, and what is told of each."""

from __future__ import annotations

import json
import logging
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from exgan_jax import contact_sheet
from exgan_jax.errors import InputError
from exgan_jax.face_records import progress
from exgan_jax.photo import photograph, reader, writer
from exgan_jax.photo.inpainter import DEFAULT, Inpainter, Options
from exgan_jax.photo.references import Candidate
from exgan_jax.photo.result import Found, Result, check_painted

logger = logging.getLogger(__name__)

# In the folder of results: a line for every face.
LOG = 'faces.jsonl'
# Of files in a folder, those that are looked at.
SUFFIXES = frozenset({
  '.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff', '.bmp', '.gif', '.ppm',
  '.heic', '.heif',
})  # fmt: skip

Path = str | os.PathLike


def inpaint_file(
  inpainter: Inpainter,
  photo: Path,
  references: Sequence[Path],
  output: Path,
  options: Options = DEFAULT,
  compare: Path | None = None,
) -> Result:
  """Opens the eyes in one photograph, and writes it.

  Args:
    inpainter: that paints.
    photo: the photograph.
    references: pictures, or folders of them, with open eyes.
    output: the file to write; its ending names the format.
    options: which faces, and how.
    compare: a PNG to write with what was, what is, and the reference.

  Raises:
    InputError: something cannot be read, there is nothing to paint, or the
      output is one of the inputs or would lose something.
    OSError: the output cannot be written.
  """
  pictures = list_pictures(references)
  targets = [output, *([] if compare is None else [compare])]
  for target in targets:
    _check_target(target, [photo, *pictures])
  if len(set(map(os.path.realpath, targets))) < len(targets):
    raise InputError('--output and --compare are the same file')
  picture = reader.read(photo)
  writer.check_holds(picture, photograph.format_of(output))
  candidates = _candidates(inpainter, references, pictures, [photo])
  result = inpainter.open_eyes(picture, candidates, options)
  check_painted(result)
  writer.save(result.photograph, output)
  if compare is not None:
    contact_sheet.save(comparison(result.painted), pathlib.Path(compare))
  return result


def inpaint_folder(
  inpainter: Inpainter,
  folder: Path,
  references: Sequence[Path],
  output: Path,
  options: Options = DEFAULT,
  compare: Path | None = None,
) -> tuple[int, int, int]:
  """Opens the eyes in all photographs of a folder and of those inside it.

  Those in which something was painted are written under their name; those that
  Pillow cannot write in their format become PNG. `faces.jsonl` gets a line a
  face, and a line for what cannot be read.

  Args:
    inpainter: that paints.
    folder: of the photographs.
    references: pictures, or folders of them; may be the same folder.
    output: folder to write to, outside the other one.
    options: which faces, and how.
    compare: folder to write a PNG to for each photograph: before and after.

  Returns:
    How many faces were painted, in how many photographs, out of how many.

  Raises:
    InputError: a folder is missing, or holds no picture.
    OSError: the output cannot be written.
  """
  folder, output = pathlib.Path(folder), pathlib.Path(output)
  for target in (output, *([] if compare is None else [pathlib.Path(compare)])):
    if target.resolve().is_relative_to(folder.resolve()):
      raise InputError(f'{target} is in {folder}, the folder of photographs')
  photos, pictures = list_pictures([folder]), list_pictures(references)
  for photo in photos:
    name = photo.relative_to(folder)
    for target in _targets(name, output, compare):
      if any(_same_file(target, picture) for picture in pictures):
        raise InputError(f'{target} is a reference: it would be lost')
  candidates = _candidates(inpainter, references, pictures)
  output.mkdir(parents=True, exist_ok=True)
  painted = changed = 0
  with (output / LOG).open('w') as log:
    for photo in progress.bar(photos, unit='photo', desc='inpaint'):
      name = photo.relative_to(folder)
      target, *sheets = _targets(name, output, compare)
      found, where = _one_of_many(inpainter, photo, candidates, target, options)
      for told in found if isinstance(found, list) else found.told():
        line = {'photograph': name.as_posix(), **told}
        log.write(json.dumps(line, allow_nan=False) + '\n')
        log.flush()
      if isinstance(found, list):
        continue
      if found.painted:
        for path in sheets:
          contact_sheet.save(comparison(found.painted), path)
      painted += len(found.painted)
      changed += where is not None
  return painted, changed, len(photos)


def _targets(
  name: pathlib.Path, output: Path, compare: Path | None
) -> list[pathlib.Path]:
  """Where a photograph goes, and its sheet if there is one.

  No two photographs go to the same place: one suffix is put after the other.
  """

  def png(path: pathlib.Path) -> pathlib.Path:
    return path if path.suffix == '.png' else pathlib.Path(f'{path}.png')

  target = pathlib.Path(output, name)
  if target.suffix.lower() not in photograph.suffixes():
    target = png(target)
  sheets = [] if compare is None else [png(pathlib.Path(compare, name))]
  return [target, *sheets]


def _one_of_many(
  inpainter: Inpainter,
  photo: pathlib.Path,
  candidates: Sequence[Candidate],
  target: pathlib.Path,
  options: Options,
) -> tuple[Result | list[dict], pathlib.Path | None]:
  """What was found, or a line that says why nothing was; where it is now."""
  try:
    picture = reader.read(photo)
    others = [c for c in candidates if not _same_file(c.name, photo)]
    result = inpainter.open_eyes(picture, others, options)
    if not result.faces:
      return [{'face': None, 'done': 'no face'}], None
    if not result.painted:
      return result, None
    target.parent.mkdir(parents=True, exist_ok=True)
    writer.save(result.photograph, target)
    return result, target
  except InputError as error:
    reason = str(error).removeprefix(f'{photo}: ')
    return [{'face': None, 'done': reason}], None


def list_pictures(paths: Iterable[Path]) -> list[pathlib.Path]:
  """Pictures that are named, and those in folders that are, sorted by name.

  Raises:
    InputError: there is no such file, or no picture in a folder.
  """
  found: list[pathlib.Path] = []
  for path in map(pathlib.Path, paths):
    if not path.is_dir():
      if not path.is_file():
        raise InputError(f'no picture at {path}')
      found.append(path)
      continue
    inside = sorted(_pictures_in(path))
    if not inside:
      raise InputError(f'no picture in {path}')
    found += inside
  return found


def _pictures_in(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  # Linked folders are not followed: they may lead out, or in a circle.
  for where, folders, names in os.walk(folder):
    folders[:] = [name for name in folders if not name.startswith('.')]
    for name in names:
      path = pathlib.Path(where, name)
      hidden = name.startswith('.')
      if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
        yield path


def _candidates(
  inpainter: Inpainter,
  references: Sequence[Path],
  pictures: Sequence[pathlib.Path],
  photos: Sequence[Path] = (),
) -> list[Candidate]:
  """The faces of all references; of a folder only what can be used of it."""
  named = {pathlib.Path(path) for path in references}
  candidates = []
  for picture in progress.bar(
    pictures, unit='photo', desc='references', disable=len(pictures) < 4
  ):
    if any(_same_file(photo, picture) for photo in photos):
      continue
    if picture in named:
      candidates += inpainter.candidates([picture])
    else:
      candidates += inpainter.candidates_or_none(picture)
  if not candidates:
    raise InputError('no face in the references')
  is_one_person = all(c.alone for c in candidates) and not any(
    pathlib.Path(path).is_dir() for path in references
  )
  if not inpainter.tells_people_apart and not is_one_person:
    logger.warning(
      'nothing tells who is who among the references but where they stand in'
      ' pictures of a burst: all others are taken for the same person'
      ' (--face-embedding, --compressor)'
    )
  return candidates


def _check_target(target: Path, sources: Iterable[Path]) -> None:
  for source in sources:
    if _same_file(target, source):
      raise InputError(f'{target} is an input: it would be lost')
  folder = pathlib.Path(target).parent
  if not folder.is_dir():
    raise InputError(f'no folder {folder} to write to')


def _same_file(one: Path, other: Path) -> bool:
  try:
    return os.path.samefile(one, other)
  except OSError:
    return False


def comparison(painted: Sequence[Found]):
  """Draws a row for every painted face: reference, before, after."""
  columns = {
    'reference': [found.choice.candidate.aligned for found in painted],
    'before': [found.before for found in painted],
    'after': [found.after for found in painted],
  }
  eyes = np.stack([found.before.eyes for found in painted])
  shown = np.stack([face.eyes for face in columns['reference']])
  return contact_sheet.make_sheet(
    {
      name: np.stack([face.square for face in column])
      for name, column in columns.items()
    },
    {'eyes': eyes, 'reference_eyes': shown},
    side=256,
  )
