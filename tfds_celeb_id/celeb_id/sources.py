"""Where the authors' files lie: in a folder, or in one of their archives.

Archives are read where they are and never unpacked, so nothing in one can end
up outside of it.
"""

import dataclasses
import functools
import logging
import os
import pathlib
import zipfile
import zlib

from exgan_jax.errors import InputError
from exgan_jax.face_records.pictures import UnusablePictureError
from tfds_celeb_id import records

# Larger files are not what they claim to be.
MAX_PICTURE_BYTES = 64 << 20
MAX_LISTING_BYTES = 128 << 20

ALIGNED, RAW = 'aligned', 'raw'
_FOLDERS = {ALIGNED: 'celeb_id_aligned', RAW: 'celeb_id_raw'}
_LISTINGS = {ALIGNED: 'data.json', RAW: 'celeb_params.json'}

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Folder:
  """Files in a folder."""

  path: str

  def read(self, name: str, limit: int = MAX_PICTURE_BYTES) -> bytes:
    """Returns the bytes of a file directly in the folder.

    Raises:
      UnusablePictureError: it is missing, no file, elsewhere or too large.
    """
    path = os.path.join(self.path, name)
    try:
      root = os.path.realpath(self.path)
      if os.path.dirname(os.path.realpath(path)) != root:
        raise UnusablePictureError('a link out of the folder')
      if not os.path.exists(path):
        raise UnusablePictureError('missing')
      if not os.path.isfile(path):  # A pipe would be waited for.
        raise UnusablePictureError('not a file')
      with open(path, 'rb') as file:
        return _bounded(file, limit)
    except (OSError, ValueError) as error:
      if isinstance(error, UnusablePictureError):
        raise
      raise UnusablePictureError('cannot be read') from error


@dataclasses.dataclass(frozen=True)
class Archive:
  """Files in one folder of a zip archive."""

  path: str
  prefix: str

  def read(self, name: str, limit: int = MAX_PICTURE_BYTES) -> bytes:
    """Returns the bytes of a file directly in the folder.

    Raises:
      UnusablePictureError: it is missing, broken, encrypted or too large.
    """
    try:
      archive = _open_zip(self.path)
      member = archive.getinfo(self.prefix + name)
      # Of the others, zipfile unpacks all at once, whatever is asked for.
      if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnusablePictureError('neither stored nor deflated')
      with archive.open(member) as file:
        return _bounded(file, limit)
    except KeyError as error:
      raise UnusablePictureError('missing') from error
    except RuntimeError as error:  # zipfile's way to ask for a password.
      raise UnusablePictureError('encrypted') from error
    except (
      *(OSError, EOFError, NotImplementedError),
      *(zipfile.BadZipFile, zlib.error),
    ) as error:
      raise UnusablePictureError('broken') from error


@dataclasses.dataclass(frozen=True)
class Source:
  """What a data set is built from.

  Attributes:
    kind: `ALIGNED` or `RAW`.
    origin: the listing's whereabouts, for people.
    listing: bytes of `data.json` or `celeb_params.json`.
    pictures: where the pictures are.
    rejected: what was found besides and is dangerous.
  """

  kind: str
  origin: str
  listing: bytes
  pictures: Folder | Archive
  rejected: tuple[records.Rejected, ...] = ()


def find(folder: str | os.PathLike) -> Source | None:
  """Returns what a folder holds: aligned files if there are any, else raw ones.

  Looked for in the folder itself and in its `data/`, unpacked or as zip; None
  if there is nothing of the kind.

  Raises:
    InputError: there is, but its listing is missing or cannot be read.
  """
  places = [pathlib.Path(folder), pathlib.Path(folder) / 'data']
  incomplete = None
  found: list[Source] = []
  for kind in (ALIGNED, RAW):
    try:
      found += filter(None, (_find(kind, place) for place in places))
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
      'There are aligned and raw files; the aligned ones are used: %s',
      found[0].origin,
    )
  return found[0]


def _find(kind: str, place: pathlib.Path) -> Source | None:
  folder, listing = place / _FOLDERS[kind], _LISTINGS[kind]
  archive = folder.with_suffix('.zip')
  # The authors' page and their script disagree on where `data.json` is.
  beside = [
    path / listing
    for path in (folder, place / _FOLDERS[RAW], place)
    if (path / listing).is_file()
  ]
  pictures: Folder | Archive
  rejected: tuple[records.Rejected, ...] = ()
  if folder.is_dir():
    if not beside:
      raise InputError(f'{folder} has no {listing}')
    pictures = Folder(os.fspath(folder))
  elif archive.is_file():
    archived = in_archive(kind, archive, listed_elsewhere=bool(beside))
    if not beside:
      return archived
    pictures, rejected = archived.pictures, archived.rejected
  elif kind == ALIGNED and place / listing in beside:
    pictures = Folder(os.fspath(place))
    beside = [place / listing]
  else:
    return None
  path = beside[0]
  try:
    data = Folder(os.fspath(path.parent)).read(path.name, MAX_LISTING_BYTES)
  except UnusablePictureError as error:
    raise InputError(f'{path}: {error}') from error
  return Source(kind, os.fspath(path), data, pictures, rejected)


def in_archive(
  kind: str, path: str | os.PathLike, listed_elsewhere: bool = False
) -> Source:
  """Returns what a zip archive holds.

  Args:
    kind: what to look for.
    path: of the archive.
    listed_elsewhere: leave the listing empty.

  Raises:
    InputError: it is no archive, or has no listing that can be read.
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
  listing = _LISTINGS[kind]
  listings = [n for n in safe if n.rpartition('/')[2] == listing]
  if not listings and not listed_elsewhere:
    raise InputError(f'{path} has no {listing}')
  where = min(listings, key=_depth)[: -len(listing)] if listings else ''
  folders = {name.rpartition('/')[0] for name in safe}
  named = [f for f in folders if f.rpartition('/')[2] == _FOLDERS[kind]]
  prefix = min(named, key=_depth) + '/' if named else where
  if listed_elsewhere:
    return Source(kind, path, b'', Archive(path, prefix), rejected)
  try:
    data = Archive(path, where).read(listing, MAX_LISTING_BYTES)
  except UnusablePictureError as error:
    raise InputError(f'{path}: {where}{listing}: {error}') from error
  return Source(
    kind, f'{path}: {where}{listing}', data, Archive(path, prefix), rejected
  )


def _depth(name: str) -> tuple[int, str]:
  return name.count('/'), name


def _is_safe(name: str) -> bool:
  return not (
    name.startswith('/')
    or '\\' in name
    or ':' in name.partition('/')[0]
    or '..' in name.split('/')
  )


def _bounded(file, limit: int) -> bytes:
  # One byte more than allowed tells a larger file, whatever size it claims.
  data = file.read(limit + 1)
  if len(data) > limit:
    raise UnusablePictureError('too large')
  return data


@functools.lru_cache(maxsize=2)
def _open_zip(path: str) -> zipfile.ZipFile:
  """Opens an archive once in each process: its directory may be long."""
  return zipfile.ZipFile(path)
