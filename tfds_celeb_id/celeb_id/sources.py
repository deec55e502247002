"""Finds the authors' files in a folder or in a zip archive.

Archives are read in place and never extracted.
"""

import dataclasses
import errno
import functools
import logging
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterable

from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.face_records import pictures
from exgan_jax.face_records.pictures import UnusablePictureError
from tfds_celeb_id import records

MAX_LISTING_BYTES = 128 << 20

ALIGNED, RAW = 'aligned', 'raw'
_FOLDERS = {ALIGNED: 'celeb_id_aligned', RAW: 'celeb_id_raw'}
_LISTINGS = {ALIGNED: 'data.json', RAW: 'celeb_params.json'}

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Folder:
  """Files in a folder."""

  path: str

  def read(self, name: str) -> bytes:
    """Returns the bytes of a picture in the folder.

    Raises:
      UnusablePictureError: as from `pictures.load`.
    """
    return pictures.load(os.path.join(self.path, name))


@dataclasses.dataclass(frozen=True)
class Archive:
  """Files in one folder of a zip archive."""

  path: str
  prefix: str

  def read(self, name: str, limit: int | None = None) -> bytes:
    """Returns the bytes of a file in the folder.

    Raises:
      UnusablePictureError: it is missing, broken, encrypted or too large.
    """
    try:
      archive = _open_zip(self.path)
      member = archive.getinfo(self.prefix + name)
      # zipfile decompresses other types at once, whatever their size.
      if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnusablePictureError('neither stored nor deflated')
      limit = limit or pictures.MAX_BYTES
      # Of a larger one zipfile reads as much as the archive claims.
      if member.file_size > limit:
        raise UnusablePictureError(f'larger than {limit} bytes')
      return archive.read(member)
    except KeyError as error:
      raise UnusablePictureError(os.strerror(errno.ENOENT)) from error
    except RuntimeError as error:  # Raised by zipfile without a password.
      raise UnusablePictureError('encrypted') from error
    except (
      *(OSError, EOFError, NotImplementedError),
      *(zipfile.BadZipFile, zlib.error),
    ) as error:
      raise UnusablePictureError('broken') from error


@dataclasses.dataclass(frozen=True)
class Source:
  """The input of a data set.

  Attributes:
    kind: `ALIGNED` or `RAW`.
    origin: where the listing is, for messages.
    listing: bytes of `data.json` or `celeb_params.json`.
    pictures: where the pictures are.
    rejected: members of an archive with unsafe paths.
  """

  kind: str
  origin: str
  listing: bytes
  pictures: Folder | Archive
  rejected: tuple[records.Rejected, ...] = ()


def find(folder: str | os.PathLike) -> Source | None:
  """Finds aligned or raw pictures in a folder or its sub-folder `data`.

  Aligned pictures are preferred. Returns None if there are neither.

  Raises:
    InputError: there are pictures, but their listing cannot be read.
  """
  found: list[Source] = []
  incomplete = None
  for kind in (ALIGNED, RAW):
    try:
      for place in (pathlib.Path(folder), pathlib.Path(folder) / 'data'):
        if source := _find(kind, place):
          found.append(source)
    except InputError as error:
      incomplete = incomplete or error
  if not found:
    if incomplete:
      raise incomplete
    return None
  if incomplete:
    _logger.warning('%s; using %s', incomplete, found[0].origin)
  if len({source.kind for source in found}) > 1:
    _logger.warning(
      'Found aligned and raw pictures; using the aligned ones: %s',
      found[0].origin,
    )
  return found[0]


def _find(kind: str, place: pathlib.Path) -> Source | None:
  folder, name = place / _FOLDERS[kind], _LISTINGS[kind]
  archive = folder.with_suffix('.zip')
  # The authors' page and their script disagree on where `data.json` is.
  listings = [
    path / name
    for path in (folder, place / _FOLDERS[RAW], place)
    if (path / name).is_file()
  ]
  if not folder.is_dir():
    if archive.is_file():
      return in_archive(kind, archive, *listings[:1])
    if kind == RAW or not (place / name).is_file():
      return None
    folder, listings = place, [place / name]
  if not listings:
    raise InputError(f'{folder} has no {name}')
  return Source(
    kind,
    os.fspath(listings[0]),
    files.read_bytes(listings[0], MAX_LISTING_BYTES),
    Folder(os.fspath(folder)),
  )


def in_archive(
  kind: str, path: str | os.PathLike, listing: pathlib.Path | None = None
) -> Source:
  """Returns the source in a zip archive.

  Args:
    kind: `ALIGNED` or `RAW`.
    path: of the archive.
    listing: path of a listing outside of the archive, if there is one.

  Raises:
    InputError: it is not a zip archive, or its listing cannot be read.
  """
  path = os.fspath(path)
  try:
    names = _open_zip(path).namelist()
  except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as e:
    raise InputError(f'{path} is not a zip archive') from e
  safe = [name for name in names if _is_safe(name)]
  rejected = tuple(
    records.Rejected(
      '', records.readable_name(name)[:200], 'a path out of the archive'
    )
    for name in names
    if not _is_safe(name)
  )
  listed = _outermost(safe, _LISTINGS[kind])
  where = listed.removesuffix(_LISTINGS[kind])
  folder = _outermost(
    {name.rpartition('/')[0] for name in safe}, _FOLDERS[kind]
  )
  place = Archive(path, f'{folder}/' if folder else where)
  if listing:
    data = files.read_bytes(listing, MAX_LISTING_BYTES)
    return Source(kind, os.fspath(listing), data, place, rejected)
  if not listed:
    raise InputError(f'{path} has no {_LISTINGS[kind]}')
  origin = f'{path}: {listed}'
  try:
    data = Archive(path, '').read(listed, MAX_LISTING_BYTES)
  except UnusablePictureError as error:
    raise InputError(f'{origin}: {error}') from error
  return Source(kind, origin, data, place, rejected)


def _outermost(paths: Iterable[str], name: str) -> str:
  """Returns the path with a name that is in the fewest folders, or ''."""
  found = [path for path in paths if path.rpartition('/')[2] == name]
  return min(found, key=lambda path: (path.count('/'), path), default='')


def _is_safe(name: str) -> bool:
  return not (
    name.startswith('/')
    or '\\' in name
    or ':' in name.partition('/')[0]
    or '..' in name.split('/')
  )


@functools.lru_cache(maxsize=2)
def _open_zip(path: str) -> zipfile.ZipFile:
  """Opens an archive once per process, as its directory may be long."""
  return zipfile.ZipFile(path)
