"""The list of addresses, the pictures in the folder, the report."""

import contextlib
import dataclasses
import json
import os
import pathlib
import time
import urllib.parse
from collections.abc import Iterable, Iterator

from exgan_jax import files
from exgan_jax.errors import InputError
from tfds_celeb_id.celeb_id.listing import is_plain

# How the names of pictures begin that are not whole yet.
PART = '.part-'
_STALE = 3600  # Seconds, after which nobody is writing to a part any more.
_MAX_LIST_BYTES = 256 << 20


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture to fetch and the name to save it under."""

  url: str
  filename: str


@dataclasses.dataclass(frozen=True)
class Missing:
  """A picture that could not be fetched.

  Attributes:
    url: its address.
    filename: what it would be called.
    reason: why.
    dead: whether another try is of no use.
  """

  url: str
  filename: str
  reason: str
  dead: bool


@dataclasses.dataclass(frozen=True)
class Limits:
  """How much to ask for, of whom, and for how long.

  Attributes:
    connections: at once.
    per_host: of these, to one host.
    rounds: how often an address is tried.
    timeout: seconds for one picture.
    max_bytes: of one picture.
    pause: seconds before the second round; it doubles with each further one.
  """

  connections: int = 64
  per_host: int = 4
  rounds: int = 4
  timeout: float = 60.0
  max_bytes: int = 32 << 20
  pause: float = 2.0


@dataclasses.dataclass
class Summary:
  """What became of a list: numbers of pictures, and those that are missing."""

  fetched: int = 0
  there: int = 0
  missing: list[Missing] = dataclasses.field(default_factory=list)


def read_urls(
  path: str | os.PathLike,
) -> tuple[list[Picture], list[Missing]]:
  """Reads a list with one address a line.

  A picture is named after the last part of its address's path, as Celeb-ID's
  parameters name it.

  Returns:
    The pictures, and the lines that cannot be used.

  Raises:
    InputError: the file cannot be read, or is too large to be a list.
  """
  try:
    with open(path, 'rb') as file:
      data = file.read(_MAX_LIST_BYTES + 1)
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror}') from error
  if len(data) > _MAX_LIST_BYTES:
    raise InputError(f'{path} is too large for a list of addresses')
  found, unusable = {}, []
  for line in data.decode('utf-8', 'replace').splitlines():
    url = line.strip()
    if not url or url.startswith('#'):
      continue
    name, reason = _name_of(url)
    if not reason and found.get(name, url) != url:
      reason = 'the name of an earlier picture'
    if reason:
      unusable.append(Missing(url[:2000], name[:255], reason, dead=True))
    else:
      found[name] = url
  return [Picture(url, name) for name, url in found.items()], unusable


def _name_of(url: str) -> tuple[str, str]:
  """Returns the name of an address's picture, and why it cannot be used."""
  try:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ('http', 'https') or not parts.hostname:
      return '', 'not an http address'
  except ValueError:
    return '', 'not an http address'
  name = parts.path.rpartition('/')[2]
  if not is_plain(name) or name.startswith('.'):
    return name, 'not a plain file name'
  return name, ''


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
  """Says in one line what cannot be written."""
  try:
    yield
  except OSError as error:
    raise InputError(f'cannot write {path}: {error.strerror}') from error


def names_in(folder: pathlib.Path) -> set[str]:
  """Returns the pictures in a folder, and removes what a killed run left."""
  names = set()
  for entry in os.scandir(folder):
    if not entry.name.startswith(PART):
      names.add(entry.name)
    elif entry.stat().st_mtime < time.time() - _STALE:
      os.unlink(entry.path)
  return names


def read_report(path: pathlib.Path) -> dict[str, Missing]:
  """Returns by address what an earlier run found dead."""
  known = {}
  if path.is_file():
    for line in path.read_text(encoding='ascii', errors='replace').splitlines():
      # The last line may be half a line.
      with contextlib.suppress(ValueError, TypeError, RecursionError):
        missing = Missing(**json.loads(line))
        if missing.dead is True:
          known[missing.url] = missing
  return known


def write_report(missing: Iterable[Missing], path: pathlib.Path) -> None:
  files.write_text(path, ''.join(map(line_of, missing)))


def line_of(missing: Missing) -> str:
  return json.dumps(dataclasses.asdict(missing), sort_keys=True) + '\n'
