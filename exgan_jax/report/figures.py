"""The project page's two figures, from the galleries of several models.

The first shows originals and what each model made of them; the second the
reference, the picture to in-paint, and another method's result beside ours.
"""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from exgan_jax import contact_sheet
from exgan_jax.errors import InputError
from exgan_jax.evaluation.gallery import Gallery
from exgan_jax.report.tables import Line

MAX_ROWS = 6
PREFERRED = 'reference_clone'
QUALITY = 88
# Sides of an embedded picture in pixels, for screens of twice the density.
SMALLEST, LARGEST = 192, 256
# The least that a picture measures on a sheet.
SHEET_SIDE = 160
_CAPTION_LENGTH = 24
# What a model's column of a gallery is called: a compressor's drawings, too.
_RESULTS = ('result', 'drawn')
# And what else in it is no baseline, whatever results say.
_OTHERS = ('reference', 'input', 'original', 'stranger', 'after stranger')


@dataclasses.dataclass(frozen=True)
class Figure:
  """Rows of pictures, a captioned column for every kind.

  Attributes:
    caption: what it shows.
    columns: caption to uint8 [n, h, w, 3].
    places: float32 [n, 2, 2], where the eyes are, as `sheet.PLACES` names them.
  """

  caption: str
  columns: dict[str, UInt8[np.ndarray, 'n h w 3']]
  places: dict[str, Float[np.ndarray, 'n 2 2']]

  def draw(self) -> Image.Image:
    """Returns it as one picture."""
    resolution = next(iter(self.columns.values())).shape[1]
    side = min(max(resolution, SHEET_SIDE), LARGEST)
    return contact_sheet.make_sheet(self.columns, self.places, side)

  def rows(self) -> list[list[tuple[str, str]]]:
    """Returns of every row, for every column, its caption and a data URI."""
    count = len(next(iter(self.columns.values())))
    return [
      [
        (caption, data_uri(images[row], self._eyes(caption)[row]))
        for caption, images in self.columns.items()
      ]
      for row in range(count)
    ]

  def _eyes(self, caption: str) -> Float[np.ndarray, 'n 2 2']:
    return self.places[contact_sheet.EYES_OF.get(caption, 'eyes')]


def data_uri(
  image: UInt8[np.ndarray, 'h w 3'], eyes: Float[np.ndarray, '2 2']
) -> str:
  """Returns a picture with the strip of its eyes under it, as a JPEG."""
  side = min(max(image.shape[1], SMALLEST), LARGEST)
  picture = Image.fromarray(image).resize(
    (side, side), Image.Resampling.BICUBIC
  )
  strip = contact_sheet.eye_strip(image, eyes, side)
  both = np.concatenate([np.asarray(picture), strip])
  file = io.BytesIO()
  Image.fromarray(both).save(file, 'JPEG', quality=QUALITY)
  return 'data:image/jpeg;base64,' + base64.b64encode(file.getvalue()).decode()


def check(path: str, gallery: Gallery, resolution: int) -> None:
  """Says whether a gallery can be the one of results.

  Raises:
    InputError: its pictures are of another size, or no eye is known, or it is
      nowhere near its picture.
  """
  shape = next(iter(gallery.columns.values())).shape[1:3]
  if shape != (resolution, resolution):
    raise InputError(f'{path}: the pictures are not of {resolution} px')
  if 'eyes' not in gallery.places:
    raise InputError(f'{path} does not tell where the eyes are')
  for eyes in gallery.places.values():
    if (np.abs(eyes) > 2 * resolution).any():
      raise InputError(f'{path}: eyes are far outside their pictures')


def make_figures(
  galleries: Mapping[str, Gallery], lines: Sequence[Line]
) -> list[Figure]:
  """Returns the two figures, as far as there are pictures for them.

  Args:
    galleries: of each model.
    lines: of the table, which tell the best model and the best baseline.
  """
  results = {
    model: column
    for model, gallery in galleries.items()
    for column in _RESULTS
    if column in gallery.columns
  }
  galleries = {model: galleries[model] for model in results}
  names = _shared(galleries)
  if not names:
    return []
  made = [_of_models(galleries, results, names)]
  painters = [model for model in galleries if results[model] == 'result']
  if painters:
    made.append(_of_methods(galleries, painters, names, lines))
  return made


def _shared(galleries: Mapping[str, Gallery]) -> list[str]:
  """Names of the first pictures that all galleries have."""
  if not galleries:
    return []
  first, *others = galleries.values()
  names = dict.fromkeys(first.filenames)
  shared = [
    name for name in names if all(name in one.filenames for one in others)
  ]
  return shared[:MAX_ROWS]


def _of_models(
  galleries: Mapping[str, Gallery],
  results: Mapping[str, str],
  names: Sequence[str],
) -> Figure:
  first = next(iter(galleries.values()))
  known = all('original' in one.columns for one in galleries.values())
  start = 'original' if known else 'input'
  columns = {}
  if start in first.columns:
    columns[start] = _rows(first, first.columns[start], names)
  for model, gallery in galleries.items():
    columns[_short(model)] = _rows(
      gallery, gallery.columns[results[model]], names
    )
  eyes = _rows(first, first.places['eyes'], names)
  made = ', '.join(galleries)
  return Figure(
    f'The {start}, and the eyes that each model painted ({made}). Under each'
    ' picture its eyes, enlarged.',
    columns,
    # All columns show the same scene, that of the model `reference`, too.
    dict.fromkeys(contact_sheet.PLACES, eyes),
  )


def _of_methods(
  galleries: Mapping[str, Gallery],
  painters: Sequence[str],
  names: Sequence[str],
  lines: Sequence[Line],
) -> Figure:
  best = _best(lines, 'model', painters)
  why = ', the nearest in the hole' if best and len(painters) > 1 else ''
  best = best or painters[0]
  ours = galleries[best]
  columns, told = {}, []
  for column, words in (
    ('reference', 'The reference'),
    ('input', 'the picture to in-paint'),
  ):
    eyes = contact_sheet.EYES_OF.get(column, 'eyes')
    if column in ours.columns and eyes in ours.places:
      columns[column] = _rows(ours, ours.columns[column], names)
      told.append(words)
  baselines = {line.name for line in lines if line.kind == 'baseline'}
  owners = {
    name: gallery
    for gallery in galleries.values()
    for name in gallery.columns
    if name in baselines and name not in (*_RESULTS, *_OTHERS)
  }
  other = PREFERRED if PREFERRED in owners else None
  other = other or _best(lines, 'baseline', list(owners))
  if other:
    columns[_short(other)] = _rows(
      owners[other], owners[other].columns[other], names
    )
    told.append(f"another method's result ({other})")
  columns[f'ours: {_short(best)}'] = _rows(ours, ours.columns['result'], names)
  told.append(f'ours ({best}{why})')
  return Figure(
    ', '.join(told) + '.',
    columns,
    {name: _rows(ours, eyes, names) for name, eyes in ours.places.items()},
  )


def _best(lines: Sequence[Line], kind: str, among: Sequence[str]) -> str | None:
  """Name of the line whose `l1_hole` is the smallest."""
  found = {
    line.name: summary.mean
    for line in reversed(lines)
    if line.kind == kind and line.name in among
    if (summary := line.summary('l1_hole'))
  }
  return min(found, key=found.get, default=None)


def _rows(
  gallery: Gallery, array: np.ndarray, names: Sequence[str]
) -> np.ndarray:
  return array[[gallery.filenames.index(name) for name in names]]


def _short(name: str) -> str:
  # A caption must fit over its column.
  return name if len(name) <= _CAPTION_LENGTH else name[:_CAPTION_LENGTH] + '…'
