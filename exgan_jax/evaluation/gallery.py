"""Some images of an evaluation, in a file beside its results.

The report compares the galleries of several models.
"""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
from jaxtyping import Float, UInt8

from exgan_jax import files
from exgan_jax.errors import InputError

SUFFIX = '.npz'
MAX_BYTES = 256 * 2**20
_PLACES, _COLUMNS, _NAMES = 'places/', 'columns/', 'filenames'


@dataclasses.dataclass(frozen=True)
class Gallery:
  """Images of a few scenes.

  Attributes:
    filenames: file names of the records, one per row.
    columns: caption to uint8 [n, h, w, 3]: `reference`, `input` with a gray
      hole, `result`, `original` (if there is one), `stranger`, `after
      stranger`, and the baselines.
    places: float32 [n, 2, 2], eye centers by the names in
      `contact_sheet.PLACES`.
  """

  filenames: list[str]
  columns: dict[str, UInt8[np.ndarray, 'n h w 3']]
  places: dict[str, Float[np.ndarray, 'n 2 2']]

  def save(self, path: str | pathlib.Path) -> None:
    """Writes the gallery atomically, creating the folder.

    Raises:
      OSError: the file cannot be written.
    """
    arrays = {
      _NAMES: np.asarray(self.filenames, dtype=np.str_),
      **{_COLUMNS + name: x for name, x in self.columns.items()},
      **{_PLACES + name: x for name, x in self.places.items()},
    }
    files.write_npz(path, arrays, compressed=True)


def load(path: str | pathlib.Path) -> Gallery:
  """Reads what `Gallery.save` wrote.

  Raises:
    InputError: there is no such file, or it holds something else.
  """
  arrays = files.read_npz(path, MAX_BYTES, 'gallery')
  names = arrays.pop(_NAMES, None)
  if names is None or names.ndim != 1 or names.dtype.kind != 'U':
    raise InputError(f'{path} has no list of file names')
  columns, places, rows = {}, {}, len(names)
  for key, array in arrays.items():
    name = key.partition('/')[2]
    if key.startswith(_COLUMNS):
      fits = array.dtype == np.uint8 and array.ndim == 4
      fits = fits and array.shape[0] == rows and array.shape[3] == 3
      columns[name] = array
    else:
      fits = key.startswith(_PLACES) and array.shape == (rows, 2, 2)
      fits = fits and array.dtype == np.float32
      fits = fits and bool(np.isfinite(array).all())
      places[name] = array
    if not fits or not array.size:
      raise InputError(f'{path}: {key!r} does not belong in a gallery')
  if len({array.shape for array in columns.values()}) != 1:
    raise InputError(f'{path} holds images of several sizes, or none')
  try:
    return Gallery(names.tolist(), columns, places)
  except SystemError as error:  # Of a code point that does not exist.
    raise InputError(f'{path}: a file name is not text') from error
