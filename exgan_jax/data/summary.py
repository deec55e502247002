"""What is in a built data set: its numbers, and a sheet to look at."""

from __future__ import annotations

import collections
import json
import pathlib
from collections.abc import Collection, Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from exgan_jax import contact_sheet
from exgan_jax.data.train_batches import (
  Records,
  decode,
  scale_points,
  version_folder,
)
from exgan_jax.errors import InputError
from exgan_jax.face_records.record import OPEN_THRESHOLD, SPLITS, Record

# Of the sheet: people of each split, pictures of each, and their side.
_PEOPLE, _PICTURES, _SIDE = 3, 6, 160
_BOX_COLOUR, _EYE_COLOUR = (235, 70, 40), (60, 220, 90)
_CORNER_COLOUR = (70, 160, 255)


def overview(data_dir: str, dataset: str, sheet_path: str | None = None) -> str:
  """Counts a data set's people, pictures, eyes, boxes and rejects.

  Args:
    data_dir: folder of the built data sets.
    dataset: name of the data set.
    sheet_path: where to draw some people of every split as PNG, with centres,
      boxes and corners of their eyes.

  Returns:
    The text, a few lines.

  Raises:
    InputError: the data set is not there, or damaged.
    OSError: the sheet cannot be written.
  """
  folder = version_folder(data_dir, dataset)
  splits = dict(_splits(data_dir, dataset, folder))
  kept = {split: _all(records) for split, records in splits.items()}
  # A picture may be in `closed` several times, and in another split.
  pictures = {
    record.filename: record for records in kept.values() for record in records
  }.values()
  lines = [
    *(str(folder), '', _table(kept), _openness(pictures)),
    *(_eyes(pictures), _corners(pictures), _boxes(pictures)),
    _rejected(folder / 'rejected.jsonl'),
  ]
  if sheet_path:
    contact_sheet.save(_draw(splits), pathlib.Path(sheet_path))
  return '\n'.join(lines)


def _splits(
  data_dir: str, dataset: str, folder: pathlib.Path
) -> Iterator[tuple[str, Records]]:
  """Yields the splits that were built; too few people leave one out."""
  found = False
  problem = None
  for split in SPLITS:
    try:
      yield split, Records(data_dir, dataset, split)
      found = True
    except InputError as error:
      if _is_built(folder / 'metadata.json', split):
        raise
      problem = problem or error
  if not found:
    raise problem


def _is_built(metadata: pathlib.Path, split: str) -> bool:
  """Whether a data set's metadata say that a split has records."""
  try:
    return json.loads(metadata.read_text())['counts'][split]['records'] > 0
  except (OSError, ValueError, KeyError, TypeError, RecursionError):
    return False


def _all(records: Records) -> list[Record]:
  return [records[i].without_pictures() for i in range(len(records))]


def _table(splits: dict[str, list[Record]]) -> str:
  lines = [
    f'{"split":12}{"people":>8}{"records":>10}{"of each":>14}'
    f'{"openness":>10}{"unknown":>9}'
  ]
  for split, records in splits.items():
    people = collections.Counter(record.identity for record in records)
    opened = np.array([record.opened for record in records])
    sizes = people.values()
    known = opened[~np.isnan(opened)]
    middle = f'{np.median(known):.2f}' if known.size else '-'
    each = f'{min(sizes)} to {max(sizes)}'
    lines.append(
      f'{split:12}{len(people):8}{len(opened):10}{each:>14}'
      f'{middle:>10}{np.isnan(opened).sum():9}'
    )
  return '\n'.join(lines)


def _openness(pictures: Collection[Record]) -> str:
  opened = np.array([record.opened for record in pictures])
  unknown = int(np.isnan(opened).sum())
  closed = int((opened < OPEN_THRESHOLD).sum())
  return (
    f'pictures: {len(opened)}; {len(opened) - closed - unknown} with open eyes,'
    f' {closed} with closed ones, {unknown} unknown'
  )


def _eyes(pictures: Collection[Record]) -> str:
  eyes = np.stack([record.eyes for record in pictures])
  distance = np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=-1)
  low, middle, high = np.percentile(distance, [1, 50, 99])
  (left_x, left_y), (right_x, right_y) = np.median(eyes, axis=0)
  swapped = int((eyes[:, 0, 0] >= eyes[:, 1, 0]).sum())
  return (
    f'eyes: at ({left_x:.0f}, {left_y:.0f}) and ({right_x:.0f}, '
    f'{right_y:.0f}); {middle:.0f} px apart, 98 % of them {low:.0f} to '
    f'{high:.0f}; {swapped} with the left one on the right'
  )


def _corners(pictures: Collection[Record]) -> str:
  known = sum(not np.isnan(record.corners).any() for record in pictures)
  return f'corners of the eyes: known in {known} of {len(pictures)}'


def _boxes(pictures: Collection[Record]) -> str:
  boxes = np.stack([record.boxes for record in pictures])
  return (
    f'boxes: sides {boxes.min():.0f} to {boxes.max():.0f} px, mean '
    f'{boxes.mean():.1f}; both together {boxes.prod(-1).sum(-1).mean():.0f} px '
    'in area, on average'
  )


def _rejected(path: pathlib.Path) -> str:
  reasons = collections.Counter()
  try:
    with open(path, encoding='ascii') as file:
      for line in file:
        reasons[str(json.loads(line)['reason'])] += 1
  except FileNotFoundError:
    return 'rejected: not known'
  except (ValueError, KeyError, TypeError, RecursionError) as error:
    raise InputError(f'{path} is not a list of rejected pictures') from error
  lines = [f'rejected: {sum(reasons.values())}']
  lines += [f'{count:8} {reason}' for reason, count in reasons.most_common()]
  return '\n'.join(lines)


def _draw(splits: dict[str, Records]) -> Image.Image:
  """Draws a row for each of a few people of every split."""
  rows = [
    (split, people)
    for split, records in splits.items()
    for people in _some_people(records)
  ]
  height = _SIDE + 2 * contact_sheet.CAPTION_HEIGHT + contact_sheet.MARGIN
  width = contact_sheet.MARGIN + _PICTURES * (_SIDE + contact_sheet.MARGIN)
  canvas = Image.new(
    'RGB', (width, len(rows) * height), contact_sheet.BACKGROUND
  )
  draw, font = ImageDraw.Draw(canvas), ImageFont.load_default()
  for row, (split, people) in enumerate(rows):
    y = row * height
    caption = f'{split}: {people[0].identity}, {people[0].identity_size}'
    draw.text(
      (contact_sheet.MARGIN, y + 3), caption, contact_sheet.INK, font=font
    )
    for column, record in enumerate(people):
      x = contact_sheet.MARGIN + column * (_SIDE + contact_sheet.MARGIN)
      canvas.paste(_picture(record), (x, y + contact_sheet.CAPTION_HEIGHT))
      name = record.filename.rpartition('/')[2][-24:]
      below = y + contact_sheet.CAPTION_HEIGHT + _SIDE + 2
      draw.text(
        (x, below), f'{name} {record.opened:.2f}', contact_sheet.INK, font=font
      )
  return canvas


def _some_people(records: Records) -> list[list[Record]]:
  """Returns the first pictures of some people, far from each other."""
  people = []
  for i in range(_PEOPLE):
    at = i * len(records) // _PEOPLE
    first = at - records[at].index_in_identity
    size = min(records[at].identity_size, _PICTURES)
    person = [records[position] for position in range(first, first + size)]
    if not any(person[0].filename == other[0].filename for other in people):
      people.append(person)
  return people


def _picture(record: Record) -> Image.Image:
  pixels, stored = decode(record.image, _SIDE)
  scale = np.float32(_SIDE / stored)
  image = Image.fromarray(pixels)
  draw = ImageDraw.Draw(image)
  eyes = scale_points(record.eyes, scale)
  for (x, y), (w, h) in zip(eyes, record.boxes * scale / 2, strict=True):
    draw.rectangle((x - w, y - h, x + w, y + h), outline=_BOX_COLOUR)
    draw.line((x - 2, y, x + 2, y), _EYE_COLOUR)
    draw.line((x, y - 2, x, y + 2), _EYE_COLOUR)
  if not np.isnan(record.corners).any():
    for x, y in scale_points(record.corners, scale):
      draw.rectangle((x - 1, y - 1, x + 1, y + 1), fill=_CORNER_COLOUR)
  return image
