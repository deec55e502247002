"""photo_id: your own photographs, one folder for each person."""

import functools
import os
from collections.abc import Iterator
from typing import ClassVar

import tensorflow_datasets as tfds

from exgan_jax.errors import InputError
from exgan_jax.face_records import landmarks
from tfds_celeb_id import photos, records, work
from tfds_celeb_id.builder import RecordsBuilder


class Builder(RecordsBuilder):
  """Aligned faces of the people in a folder of folders."""

  VERSION = tfds.core.Version('1.1.0')
  RELEASE_NOTES: ClassVar = {
    '1.0.0': 'First version.',
    '1.1.0': 'Corners of the eyes (`corners`); `train` also holds people with '
    'a single picture, after all others.',
  }
  SIZE = 256
  KEEP_SINGLES = True
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'Name a folder with one sub-folder of photographs for each person.'
  )

  def __init__(self, *, detector=landmarks.FaceLandmarker, **kwargs):
    """Opens the data set, which may be built already.

    Args:
      detector: an importable class that finds faces like the default one.
      **kwargs: as in `RecordsBuilder`.
    """
    super().__init__(**kwargs)
    self._detector = detector

  def _work(self, dl_manager):
    folder = self._manual_folder(
      dl_manager,
      'name a folder with one sub-folder of photographs for each '
      'person with --manual_dir',
    )
    found = list(list_photos(folder))
    if not found:
      raise InputError(f'{folder} is empty')
    bundle = None
    if self._detector is landmarks.FaceLandmarker:
      bundle = os.fspath(landmarks.find_bundle())
    align = functools.partial(
      photos.align_photo, detector=self._detector, bundle=bundle, size=self.SIZE
    )
    return work.Work(align, found)


def list_photos(folder: str) -> Iterator[photos.Photo | records.Rejected]:
  """Yields all that lies in a folder of folders, sorted by name.

  The order and the names do not depend on the operating system. Nothing outside
  the folder is touched: what a link leads out to is rejected.
  """
  root = os.path.realpath(folder)
  for person in _sorted(root):
    name = records.readable_name(person.name)
    if person.name.startswith('.'):
      yield records.Rejected('', name, 'hidden')
    elif not os.path.realpath(person.path).startswith(root + os.sep):
      yield records.Rejected('', name, 'a link out of the folder')
    elif not person.is_dir():
      yield records.Rejected('', name, "not in a person's folder")
    else:
      try:
        files = _sorted(person.path)
      except PermissionError:
        yield records.Rejected(name, name, 'cannot be read')
        continue
      for file in files:
        yield _photo(file, name, root)


def _photo(
  file: os.DirEntry, identity: str, root: str
) -> photos.Photo | records.Rejected:
  filename = f'{identity}/{records.readable_name(file.name)}'
  if file.name.startswith('.'):
    reason = 'hidden'
  elif not os.path.realpath(file.path).startswith(root + os.sep):
    reason = 'a link out of the folder'
  elif file.is_dir():
    reason = "a folder inside a person's folder"
  elif not file.is_file():  # A pipe would be waited for.
    reason = 'not a file'
  else:
    return photos.Photo(file.path, identity, filename)
  return records.Rejected(identity, filename, reason)


def _sorted(folder: str) -> list[os.DirEntry]:
  with os.scandir(folder) as entries:
    return sorted(
      entries, key=lambda e: (records.readable_name(e.name), e.name)
    )
