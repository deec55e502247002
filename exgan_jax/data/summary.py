"""An overview of a built data set: statistics and a contact sheet."""

from __future__ import annotations

import collections
import json
import pathlib
from collections.abc import Collection

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from exgan_jax import contact_sheet
from exgan_jax.contact_sheet import CAPTION_HEIGHT, INK, MARGIN
from exgan_jax.data.train_batches import Records
from exgan_jax.errors import InputError
from exgan_jax.face_records.codec import decode, scale_of, scale_points
from exgan_jax.face_records.folder import version_folder
from exgan_jax.face_records.record import OPEN_THRESHOLD, SPLITS, Record

# On the sheet: people per split, pictures per person, side of a picture.
_PEOPLE, _PICTURES, _SIDE = 3, 6, 160
_BOX_COLOR, _EYE_COLOR = (235, 70, 40), (60, 220, 90)
_CORNER_COLOR = (70, 160, 255)


def overview(data_dir: str, dataset: str, sheet_path: str | None = None) -> str:
  """Summarizes a data set's people, pictures, eyes, boxes and rejects.

  Args:
    data_dir: folder of the built data sets.
    dataset: name of the data set.
    sheet_path: where to write a PNG with some people of every split and their
      eye centers, boxes and corners.

  Returns:
    A few lines of text.

  Raises:
    InputError: the data set does not exist or is damaged.
    OSError: the sheet cannot be written.
  """
  folder = version_folder(data_dir, dataset)
  splits = _splits(data_dir, dataset, folder)
  kept = {
    split: [records[i].without_pictures() for i in range(len(records))]
    for split, records in splits.items()
  }
  # A picture may occur several times in `closed`, and also in another split.
  pictures = {
    record.filename: record for records in kept.values() for record in records
  }.values()
  lines = [
    *(str(folder), '', *_table(kept)),
    *_statistics(pictures),
    *_rejected(folder / 'rejected.jsonl'),
  ]
  if sheet_path:
    contact_sheet.save(_draw(splits), pathlib.Path(sheet_path))
  return '\n'.join(lines)


def _splits(
  data_dir: str, dataset: str, folder: pathlib.Path
) -> dict[str, Records]:
  """Returns the splits that exist; small data sets lack some."""
  found: dict[str, Records] = {}
  problem = None
  for split in SPLITS:
    try:
      found[split] = Records(data_dir, dataset, split)
    except InputError as error:
      if _is_built(folder / 'metadata.json', split):
        raise
      problem = problem or error
  if problem and not found:
    raise problem
  return found


def _is_built(metadata: pathlib.Path, split: str) -> bool:
  """Returns whether a split has records according to the metadata."""
  try:
    return json.loads(metadata.read_text())['counts'][split]['records'] > 0
  except (OSError, ValueError, KeyError, TypeError, RecursionError):
    return False


def _table(splits: dict[str, list[Record]]) -> list[str]:
  lines = [
    f'{"split":12}{"people":>8}{"records":>10}{"of each":>14}'
    f'{"openness":>10}{"unknown":>9}'
  ]
  for split, records in splits.items():
    sizes = collections.Counter(record.identity for record in records).values()
    opened = np.array([record.opened for record in records])
    known = opened[~np.isnan(opened)]
    middle = f'{np.median(known):.2f}' if known.size else '-'
    each = f'{min(sizes)} to {max(sizes)}'
    lines.append(
      f'{split:12}{len(sizes):8}{len(opened):10}{each:>14}'
      f'{middle:>10}{len(opened) - known.size:9}'
    )
  return lines


def _statistics(pictures: Collection[Record]) -> list[str]:
  opened = np.array([record.opened for record in pictures])
  unknown = int(np.isnan(opened).sum())
  closed = int((opened < OPEN_THRESHOLD).sum())
  eyes = np.stack([record.eyes for record in pictures])
  distance = np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=-1)
  low, middle, high = np.percentile(distance, [1, 50, 99])
  (left_x, left_y), (right_x, right_y) = np.median(eyes, axis=0)
  swapped = int((eyes[:, 0, 0] >= eyes[:, 1, 0]).sum())
  corners = sum(not np.isnan(record.corners).any() for record in pictures)
  boxes = np.stack([record.boxes for record in pictures])
  return [
    f'pictures: {len(opened)}; {len(opened) - closed - unknown} with open eyes,'
    f' {closed} with closed ones, {unknown} unknown',
    f'eyes: at ({left_x:.0f}, {left_y:.0f}) and ({right_x:.0f}, '
    f'{right_y:.0f}); {middle:.0f} px apart, 98 % of them {low:.0f} to '
    f'{high:.0f}; {swapped} with the left one on the right',
    f'corners of the eyes: known in {corners} of {len(pictures)}',
    f'boxes: sides {boxes.min():.0f} to {boxes.max():.0f} px, mean '
    f'{boxes.mean():.1f}; both together {boxes.prod(-1).sum(-1).mean():.0f} px '
    'in area, on average',
  ]


def _rejected(path: pathlib.Path) -> list[str]:
  try:
    reasons = collections.Counter(
      str(json.loads(line)['reason'])
      for line in path.read_text(encoding='ascii').splitlines()
    )
  except FileNotFoundError:
    return ['rejected: not known']
  except (ValueError, KeyError, TypeError, RecursionError) as error:
    raise InputError(f'{path} is not a list of rejected pictures') from error
  lines = [f'{count:8} {reason}' for reason, count in reasons.most_common()]
  return [f'rejected: {reasons.total()}', *lines]


def _draw(splits: dict[str, Records]) -> Image.Image:
  """Draws one row for each of a few people of every split."""
  rows = [
    (split, people)
    for split, records in splits.items()
    for people in _some_people(records)
  ]
  height = _SIDE + 2 * CAPTION_HEIGHT + MARGIN
  width = MARGIN + _PICTURES * (_SIDE + MARGIN)
  canvas = Image.new(
    'RGB', (width, len(rows) * height), contact_sheet.BACKGROUND
  )
  draw, font = ImageDraw.Draw(canvas), ImageFont.load_default()
  for row, (split, people) in enumerate(rows):
    y = row * height
    caption = f'{split}: {people[0].identity}, {people[0].identity_size}'
    draw.text((MARGIN, y + 3), caption, INK, font=font)
    for column, record in enumerate(people):
      x = MARGIN + column * (_SIDE + MARGIN)
      canvas.paste(_picture(record), (x, y + CAPTION_HEIGHT))
      name = record.filename.rpartition('/')[2][-24:]
      below = (x, y + CAPTION_HEIGHT + _SIDE + 2)
      draw.text(below, f'{name} {record.opened:.2f}', INK, font=font)
  return canvas


def _some_people(records: Records) -> list[list[Record]]:
  """Returns the first pictures of some people, spread over the split."""
  starts: dict[int, int] = {}
  for i in range(_PEOPLE):
    at = i * len(records) // _PEOPLE
    record = records[at]
    starts[at - record.index_in_identity] = record.identity_size
  return [
    [records[start + i] for i in range(min(size, _PICTURES))]
    for start, size in starts.items()
  ]


def _picture(record: Record) -> Image.Image:
  pixels, stored = decode(record.image, _SIDE)
  scale = scale_of(_SIDE, stored)
  image = Image.fromarray(pixels)
  draw = ImageDraw.Draw(image)
  eyes = scale_points(record.eyes, scale)
  for (x, y), (w, h) in zip(eyes, record.boxes * scale / 2, strict=True):
    draw.rectangle((x - w, y - h, x + w, y + h), outline=_BOX_COLOR)
    draw.line((x - 2, y, x + 2, y), _EYE_COLOR)
    draw.line((x, y - 2, x, y + 2), _EYE_COLOR)
  if not np.isnan(record.corners).any():
    for x, y in scale_points(record.corners, scale):
      draw.rectangle((x - 1, y - 1, x + 1, y + 1), fill=_CORNER_COLOR)
  return image
