"""Reading NumPy archives that anybody may have written."""

from __future__ import annotations

import os
import zipfile

import numpy as np

from tfds_celeb_id import InputError


def read(
  path: str | os.PathLike, max_bytes: int, contents: str
) -> dict[str, np.ndarray]:
  """Reads all arrays; nothing in the file is run.

  Args:
    path: of the file.
    max_bytes: that it may hold, unpacked.
    contents: what it should hold, for the message.

  Raises:
    InputError: there is no such file, it is larger, or holds something else.
  """
  try:
    with zipfile.ZipFile(path) as archive:
      if sum(entry.file_size for entry in archive.infolist()) > max_bytes:
        raise InputError(f'{path} holds more than {max_bytes} bytes')
    with np.load(path, allow_pickle=False) as file:
      arrays = dict(file)
  except InputError:
    raise
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror}') from error
  except Exception as error:  # Of a damaged archive NumPy raises nearly any.
    raise InputError(f'{path} holds no {contents}') from error
  if not all(isinstance(array, np.ndarray) for array in arrays.values()):
    raise InputError(f'{path} holds more than {contents}')
  return arrays
