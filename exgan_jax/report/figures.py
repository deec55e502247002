"""The report's two figures, from the galleries of several models.

The first shows originals and the result of each model; the second shows the
reference, the input, and the result of another method beside ours.
"""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence

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
# Sides of an embedded image in pixels, for screens of twice the density.
SMALLEST, LARGEST = 192, 256
# Minimum side of an image on a contact sheet.
SHEET_SIDE = 160
_CAPTION_LENGTH = 24
# The column of a gallery with the results of a painter or a compressor.
_RESULTS = ('result', 'drawn')
# Columns that are never baselines, whatever the results say.
_OTHERS = (
  *_RESULTS,
  *('reference', 'input', 'original', 'stranger', 'after stranger'),
)


@dataclasses.dataclass(frozen=True)
class Figure:
  """Rows of images, with a captioned column per kind.

  Attributes:
    caption: caption of the figure.
    columns: caption to uint8 [n, h, w, 3].
    places: float32 [n, 2, 2], eye centers by the names in
      `contact_sheet.PLACES`.
  """

  caption: str
  columns: dict[str, UInt8[np.ndarray, 'n h w 3']]
  places: dict[str, Float[np.ndarray, 'n 2 2']]

  def draw(self) -> Image.Image:
    """Returns the figure as one image."""
    resolution = next(iter(self.columns.values())).shape[1]
    side = min(max(resolution, SHEET_SIDE), LARGEST)
    return contact_sheet.make_sheet(self.columns, self.places, side)

  def rows(self) -> list[list[tuple[str, str]]]:
    """Returns rows of captions and data URIs, one per column."""
    by_column = []
    for caption, images in self.columns.items():
      eyes = self.places[contact_sheet.EYES_OF.get(caption, 'eyes')]
      uris = map(data_uri, images, eyes)
      by_column.append([(caption, uri) for uri in uris])
    return [list(row) for row in zip(*by_column, strict=True)]


def data_uri(
  image: UInt8[np.ndarray, 'h w 3'], eyes: Float[np.ndarray, '2 2']
) -> str:
  """Returns an image with an enlarged strip of its eyes below, as a JPEG."""
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
  """Checks that a gallery fits the results beside it.

  Raises:
    InputError: its images have another size, or its eye centers are missing or
      far outside the image.
  """
  shape = next(iter(gallery.columns.values())).shape[1:3]
  if shape != (resolution, resolution):
    raise InputError(f'{path}: the images do not have {resolution} px')
  if 'eyes' not in gallery.places:
    raise InputError(f'{path} has no eye centers')
  for eyes in gallery.places.values():
    if (np.abs(eyes) > 2 * resolution).any():
      raise InputError(f'{path}: eye centers are far outside the images')


def make_figures(
  galleries: Mapping[str, Gallery], lines: Sequence[Line]
) -> list[Figure]:
  """Returns the figures that there are images for.

  Args:
    galleries: gallery of each model.
    lines: lines of the tables, to find the best model and baseline.
  """
  results = {
    model: column
    for model, gallery in galleries.items()
    for column in _RESULTS
    if column in gallery.columns
  }
  galleries = {model: galleries[model] for model in results}
  if not galleries:
    return []
  first, *others = galleries.values()
  names = [
    name
    for name in dict.fromkeys(first.filenames)
    if all(name in other.filenames for other in others)
  ][:MAX_ROWS]
  if not names:
    return []
  made = [_of_models(galleries, results, names)]
  painters = [model for model in galleries if results[model] == 'result']
  if painters:
    made.append(_of_methods(galleries, painters, names, lines))
  return made


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
  return Figure(
    f'The {start}, and the result of each model ({", ".join(galleries)}). Below'
    ' each image, its eyes are enlarged.',
    columns,
    # All columns show the same scene, even that of the model `reference`.
    dict.fromkeys(contact_sheet.PLACES, eyes),
  )


def _of_methods(
  galleries: Mapping[str, Gallery],
  painters: Sequence[str],
  names: Sequence[str],
  lines: Sequence[Line],
) -> Figure:
  best = _best(lines, 'model', painters)
  why = ', the lowest L1 of the hole' if best and len(painters) > 1 else ''
  best = best or painters[0]
  ours = galleries[best]
  columns, parts = {}, []
  for column, words in (
    ('reference', 'The reference'),
    ('input', 'the input'),
  ):
    eyes = contact_sheet.EYES_OF.get(column, 'eyes')
    if column in ours.columns and eyes in ours.places:
      columns[column] = _rows(ours, ours.columns[column], names)
      parts.append(words)
  baselines = {line.name for line in lines if line.kind == 'baseline'}
  owners = {
    name: gallery
    for gallery in galleries.values()
    for name in gallery.columns
    if name in baselines and name not in _OTHERS
  }
  other = PREFERRED if PREFERRED in owners else _best(lines, 'baseline', owners)
  if other:
    gallery = owners[other]
    columns[_short(other)] = _rows(gallery, gallery.columns[other], names)
    parts.append(f'the result of another method ({other})')
  columns[f'ours: {_short(best)}'] = _rows(ours, ours.columns['result'], names)
  parts.append(f'ours ({best}{why})')
  return Figure(
    ', '.join(parts) + '.',
    columns,
    {name: _rows(ours, eyes, names) for name, eyes in ours.places.items()},
  )


def _best(lines: Sequence[Line], kind: str, among: Iterable[str]) -> str | None:
  """Returns the name of the line with the smallest `l1_hole`."""
  allowed = set(among)
  found = {
    line.name: summary.mean
    for line in reversed(lines)
    if line.kind == kind and line.name in allowed
    if (summary := line.summary('l1_hole'))
  }
  return min(found, key=lambda name: found[name], default=None)


def _rows(
  gallery: Gallery, array: np.ndarray, names: Sequence[str]
) -> np.ndarray:
  return array[[gallery.filenames.index(name) for name in names]]


def _short(name: str) -> str:
  """Shortens a caption to the width of its column."""
  return name if len(name) <= _CAPTION_LENGTH else name[:_CAPTION_LENGTH] + '…'
