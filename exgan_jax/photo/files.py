"""Paints photo files, one or a folder, and logs what was done."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import pathlib
from collections.abc import Iterable, Sequence

from PIL import Image

from exgan_jax import contact_sheet
from exgan_jax.errors import InputError
from exgan_jax.face_records import progress
from exgan_jax.face_records.pictures import pictures_in
from exgan_jax.photo import drawings, photograph, reader, writer
from exgan_jax.photo.inpainter import Inpainter
from exgan_jax.photo.people import Candidate
from exgan_jax.photo.result import Result, check_painted
from exgan_jax.photo.selection import DEFAULT, Options

logger = logging.getLogger(__name__)

# In the folder of results: a line for every face.
LOG = 'faces.jsonl'
_FULL = (errno.ENOSPC, errno.EDQUOT)

Path = str | os.PathLike


@dataclasses.dataclass(frozen=True)
class Tally:
  """What was done with a folder.

  Attributes:
    faces: that were painted.
    changed: photos that were written.
    failed: photos that could not be read or written.
    photos: how many there were.
  """

  faces: int
  changed: int
  failed: int
  photos: int


def inpaint_file(
  inpainter: Inpainter,
  photo: Path,
  references: Sequence[Path],
  output: Path,
  options: Options = DEFAULT,
  compare: Path | None = None,
  candidates: int = 1,
  numbered: Path | None = None,
) -> list[Result]:
  """Opens the eyes in one photograph, and writes it.

  Args:
    inpainter: that paints.
    photo: the photograph.
    references: pictures, or folders of them, with open eyes.
    output: the file to write; its ending names the format.
    options: which faces, and how.
    compare: a PNG to write with what was, what is, and the reference.
    candidates: results to write, from so many of the best references; all but
      the first get a number in their name.
    numbered: a PNG to write with the photograph and the numbers of its faces,
      even if nothing is painted.

  Returns:
    The results, the best reference first.

  Raises:
    InputError: something cannot be read, there is nothing to paint, or the
      output is one of the inputs or would lose something.
    OSError: the output cannot be written.
  """
  if candidates < 1:
    raise InputError('--candidates must be at least 1')
  pictures = list_pictures(references)
  outputs = [output_of(output, number) for number in range(candidates)]
  targets = [*outputs, *(path for path in (compare, numbered) if path)]
  for target in targets:
    _check_target(target, [photo, *pictures])
  if len(set(map(os.path.realpath, targets))) < len(targets):
    raise InputError('--output, --compare and --faces are the same file')
  picture = reader.read(photo)
  writer.check_holds(picture, photograph.format_of(output))
  if numbered is not None:
    drawn, _ = drawings.numbered_faces(inpainter, picture)
    contact_sheet.save(Image.fromarray(drawn), pathlib.Path(numbered))
  found = _candidates(inpainter, references, pictures, [photo])
  results = inpainter.alternatives(picture, found, options, candidates)
  for result, path in zip(results, outputs, strict=False):
    check_painted(result)
    writer.save(result.photograph, path)
  if compare is not None:
    painted = [face for result in results for face in result.painted]
    contact_sheet.save(drawings.comparison(painted), pathlib.Path(compare))
  return results


def output_of(output: Path, number: int) -> pathlib.Path:
  """Where the result from the second best reference goes, and so on."""
  path = pathlib.Path(output)
  return path.with_stem(f'{path.stem}-{number + 1}') if number else path


def inpaint_folder(
  inpainter: Inpainter,
  folder: Path,
  references: Sequence[Path],
  output: Path,
  options: Options = DEFAULT,
  compare: Path | None = None,
) -> Tally:
  """Opens the eyes in all photographs of a folder and of those inside it.

  Those in which something was painted are written under their name; those that
  cannot be written in their format without a loss become PNG. `faces.jsonl`
  gets a line per face, and a line for each photo that cannot be read or
  written; the others are not affected.

  Args:
    inpainter: that paints.
    folder: of the photographs.
    references: pictures, or folders of them; may be the same folder.
    output: folder to write to, outside the other one.
    options: which faces, and how.
    compare: folder to write a PNG to for each photograph: before and after.

  Returns:
    How many of what; see `Tally`.

  Raises:
    InputError: a folder is missing, or holds no picture.
    OSError: the output cannot be written.
  """
  folder, output = pathlib.Path(folder), pathlib.Path(output)
  for target in (output, *([] if compare is None else [pathlib.Path(compare)])):
    if target.resolve().is_relative_to(folder.resolve()):
      raise InputError(f'{target} is inside {folder}, the folder of photos')
  photos, pictures = list_pictures([folder]), list_pictures(references)
  for photo in photos:
    name = photo.relative_to(folder)
    for target in _targets(name, output, compare):
      if any(_same_file(target, picture) for picture in pictures):
        raise InputError(f'{target} is a reference and would be overwritten')
  candidates = _candidates(inpainter, references, pictures)
  output.mkdir(parents=True, exist_ok=True)
  painted = changed = failed = 0
  with (output / LOG).open('w', encoding='utf-8') as log:
    for photo in progress.bar(photos, unit='photo', desc='inpaint'):
      name = photo.relative_to(folder)
      target, *sheets = _targets(name, output, compare)
      try:
        result, note = _one_of_many(
          inpainter, photo, candidates, target, options
        )
        lines = result.summary() or [{'face': None, 'done': 'no face'}]
        if note:
          lines = [line | {'file': note} for line in lines]
        if result.painted:
          painted, changed = painted + len(result.painted), changed + 1
          for path in sheets:
            contact_sheet.save(drawings.comparison(result.painted), path)
      except Exception as error:  # One photo never costs another.
        if isinstance(error, OSError) and error.errno in _FULL:
          raise
        failed += 1
        lines = [{'face': None, 'done': _reason(error, photo)}]
      for line in lines:
        line = {'photograph': name.as_posix(), **line}
        log.write(json.dumps(line, allow_nan=False) + '\n')
        log.flush()
  return Tally(painted, changed, failed, len(photos))


def _reason(error: Exception, photo: pathlib.Path) -> str:
  if isinstance(error, OSError):
    return f'cannot be written: {error.strerror or error}'
  if isinstance(error, MemoryError):
    return 'too large for the memory of this machine'
  if isinstance(error, InputError):
    return str(error).removeprefix(f'{photo}: ')
  return f'{type(error).__name__}: {str(error).partition(chr(10))[0]}'


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
) -> tuple[Result, str]:
  """Paints and writes one photo; returns what was done, and a note."""
  picture = reader.read(photo)
  others = [c for c in candidates if not _same_file(c.name, photo)]
  result = inpainter.open_eyes(picture, others, options)
  if not result.painted:
    return result, ''
  notes = []
  try:
    writer.check_holds(picture, photograph.format_of(target))
  except InputError:
    target = pathlib.Path(f'{target}.png')
    notes.append(f'written as {target.name}')
  notes.append(writer.extras_note(picture, photograph.format_of(target)))
  target.parent.mkdir(parents=True, exist_ok=True)
  writer.save(result.photograph, target)
  return result, '; '.join(filter(None, notes))


def list_pictures(paths: Iterable[Path]) -> list[pathlib.Path]:
  """Pictures that are named, and those in folders that are, sorted by name.

  Raises:
    InputError: there is no such file, or no picture in a folder.
  """
  found: list[pathlib.Path] = []
  for path in map(pathlib.Path, paths):
    if not path.is_dir():
      if not path.is_file():
        raise InputError(f'no picture at {str(path)!r}')
      found.append(path)
      continue
    inside = pictures_in(path)
    if not inside:
      raise InputError(f'no picture in {path}')
    found += inside
  return found


def _candidates(
  inpainter: Inpainter,
  references: Sequence[Path],
  pictures: Sequence[pathlib.Path],
  photos: Sequence[Path] = (),
) -> list[Candidate]:
  """Finds the faces in all references; skips unusable files of a folder."""
  named = {pathlib.Path(path) for path in references}
  candidates: list[Candidate] = []
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
    if all(any(_same_file(p, q) for q in photos) for p in pictures):
      raise InputError('the reference is the photo itself; use another photo')
    raise InputError('no face was found in the references')
  is_one_person = all(c.alone for c in candidates) and not any(
    pathlib.Path(path).is_dir() for path in references
  )
  if not inpainter.tells_people_apart and not is_one_person:
    logger.warning(
      'people can only be told apart by their place in photos of the same size;'
      ' otherwise all references are assumed to show the same person'
      " (pip install 'exgan_jax[identity]' tells people apart)"
    )
  return candidates


def _check_target(target: Path, sources: Iterable[Path]) -> None:
  for source in sources:
    if _same_file(target, source):
      raise InputError(f'{target} is an input and would be overwritten')
  folder = pathlib.Path(target).parent
  if not folder.is_dir():
    raise InputError(f'cannot write {target}: the folder does not exist')


def _same_file(one: Path, other: Path) -> bool:
  try:
    return os.path.samefile(one, other)
  except OSError:
    return False
