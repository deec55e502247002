"""Downloads a list of pictures, such as those of Celeb-ID.

    python -m tfds_celeb_id.download img_urls.txt celeb-id/celeb_id_raw

Many of Celeb-ID's addresses are dead. Temporary errors are retried in later
rounds. Dead addresses are recorded in a report, with the reason, and are not
requested again. An interrupted run continues with the missing pictures.
"""

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import http
import json
import os
import pathlib
import random
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from typing import TextIO

from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.face_records import parallel, pictures, progress
from tfds_celeb_id.celeb_id.listing import is_plain

try:
  import aiohttp
except ImportError as error:
  message = "downloading needs aiohttp: pip install 'exgan_jax[download]'"
  if __name__ == '__main__':
    print(f'download: {message}', file=sys.stderr)
    sys.exit(2)
  raise InputError(message) from error

# Consecutive errors after which a host is skipped until the next round.
_PATIENCE = 8
_MAX_RETRY_AFTER = 60  # Seconds.
_MAX_LIST_BYTES = 256 << 20
_BUSY = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524}


@dataclasses.dataclass(frozen=True)
class Missing:
  """A picture that could not be downloaded.

  Attributes:
    url: its address.
    filename: the name to save it under.
    reason: why it is missing.
    dead: whether another try is useless.
  """

  url: str
  filename: str
  reason: str
  dead: bool

  def to_json(self) -> str:
    """Returns one line of the report."""
    return json.dumps(dataclasses.asdict(self), sort_keys=True) + '\n'


@dataclasses.dataclass(frozen=True)
class Limits:
  """Limits of a download."""

  connections: int = 64  # open at the same time
  per_host: int = 4  # connections to the same host
  rounds: int = 4  # tries per address
  timeout: float = 60.0  # seconds per picture
  max_bytes: int = 32 << 20  # bytes per picture
  pause: float = 2.0  # seconds before the second round; then doubles


@dataclasses.dataclass
class Summary:
  """Numbers of downloaded and of existing pictures, and the missing ones."""

  fetched: int = 0
  there: int = 0
  missing: list[Missing] = dataclasses.field(default_factory=list)


def download(
  urls: str | os.PathLike,
  folder: str | os.PathLike,
  report: str | os.PathLike,
  limits: Limits | None = None,
  retry_dead: bool = False,
) -> Summary:
  """Downloads the pictures of a list that a folder does not have yet.

  A file in the folder is always complete and can be decoded.

  Args:
    urls: path of the list, one address per line. A picture is named after the
      last part of its address, as in Celeb-ID's parameters.
    folder: where to write the pictures.
    report: where to write one JSON object per missing picture. Addresses that
      it lists as dead are skipped.
    limits: by default those of `Limits`.
    retry_dead: request dead addresses, too.

  Raises:
    InputError: the list cannot be read, or a file cannot be written.
  """
  wanted, unusable = _read_urls(urls)
  if not wanted and not unusable:
    raise InputError(f'{urls} lists no address')
  folder, report = pathlib.Path(folder), pathlib.Path(report)
  known = {} if retry_dead else _read_report(report)
  summary = Summary(missing=unusable)
  todo = []
  try:
    folder.mkdir(parents=True, exist_ok=True)
    there = set(os.listdir(folder))
    for filename, url in wanted.items():
      if filename in there:
        summary.there += 1
      elif url in known:
        summary.missing.append(known[url])
      else:
        todo.append((url, filename))
    _write_report(report, summary)
    with open(report, 'a', encoding='ascii') as file:
      downloader = _Downloader(folder, limits or Limits(), summary, file)
      asyncio.run(downloader.run(todo))
    _write_report(report, summary)
  except OSError as error:
    path = error.filename or folder
    raise InputError(f'cannot write {path}: {error.strerror}') from error
  return summary


def _read_urls(
  path: str | os.PathLike,
) -> tuple[dict[str, str], list[Missing]]:
  """Returns addresses by file name, and the lines that cannot be used."""
  data = files.read_bytes(path, _MAX_LIST_BYTES)
  found: dict[str, str] = {}
  unusable = []
  for line in data.decode('utf-8', 'replace').splitlines():
    url = line.strip()
    if not url or url.startswith('#'):
      continue
    name, reason = '', ''
    try:
      parts = urllib.parse.urlsplit(url)
      is_http = parts.scheme in ('http', 'https') and parts.hostname
    except ValueError:
      is_http = False
    if not is_http:
      reason = 'not an http address'
    else:
      name = parts.path.rpartition('/')[2]
      if not is_plain(name) or name.startswith('.'):
        reason = 'not a plain file name'
      elif found.setdefault(name, url) != url:
        reason = 'the name of an earlier picture'
    if reason:
      unusable.append(Missing(url[:2000], name[:255], reason, dead=True))
  return found, unusable


def _read_report(path: pathlib.Path) -> dict[str, Missing]:
  """Returns what an earlier run reported as dead, by address."""
  known = {}
  if path.is_file():
    for line in path.read_text(encoding='ascii', errors='replace').splitlines():
      # The last line of an interrupted run may be incomplete.
      with contextlib.suppress(ValueError, TypeError, RecursionError):
        missing = Missing(**json.loads(line))
        if missing.dead is True:
          known[missing.url] = missing
  return known


def _write_report(path: pathlib.Path, summary: Summary) -> None:
  files.write_text(path, ''.join(each.to_json() for each in summary.missing))


class _DownloadError(Exception):
  """A picture was not downloaded; `dead` says that it never will be."""

  def __init__(self, reason: str, dead: bool = False):
    super().__init__(reason)
    self.dead = dead


def _explain(error: Exception) -> _DownloadError:
  match error:
    case TimeoutError():
      return _DownloadError('timed out')
    case aiohttp.TooManyRedirects():
      return _DownloadError('too many redirects', dead=True)
    case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
      return _DownloadError('leads to no http address', dead=True)
    case UnicodeError():
      return _DownloadError('invalid host name', dead=True)
    case aiohttp.ClientPayloadError():
      return _DownloadError('cut short')
    case aiohttp.ClientConnectorDNSError():
      return _DownloadError('unknown host')
    case aiohttp.ClientConnectorError():
      return _DownloadError('host cannot be reached')
  return _DownloadError(type(error).__name__)


class _Downloader:
  """Downloads pictures, updates `summary`, and appends to `report` at once."""

  def __init__(
    self, folder: pathlib.Path, limits: Limits, summary: Summary, report: TextIO
  ):
    self._folder, self._limits = folder, limits
    self._summary, self._report = summary, report
    self._slots: dict[str, asyncio.Semaphore] = collections.defaultdict(
      lambda: asyncio.Semaphore(limits.per_host)
    )
    self._errors: collections.Counter[str] = collections.Counter()
    self._retry_after = 0.0
    self._decoding = asyncio.Semaphore(parallel.cpu_count())
    self._writing = asyncio.Lock()

  async def run(self, todo: list[tuple[str, str]]) -> None:
    """Downloads pairs of an address and a file name."""
    # Neighbors in the list are often on the same host.
    random.Random(0).shuffle(todo)
    limits = self._limits
    # DNS lookups of dead hosts block a thread for seconds.
    asyncio.get_running_loop().set_default_executor(
      futures.ThreadPoolExecutor(limits.connections)
    )
    async with aiohttp.ClientSession(
      connector=aiohttp.TCPConnector(
        limit=limits.connections, limit_per_host=limits.per_host
      ),
      cookie_jar=aiohttp.DummyCookieJar(),
      headers={'User-Agent': 'exgan_jax (research; tfds_celeb_id.download)'},
      timeout=aiohttp.ClientTimeout(total=limits.timeout),
    ) as self._session:
      failed: list[Missing] = []
      with progress.bar(total=len(todo), unit=' pictures') as self._bar:
        for number in range(limits.rounds):
          if number:
            pause = limits.pause * 2 ** (number - 1)
            await asyncio.sleep(max(pause, self._retry_after))
          self._errors.clear()
          self._retry_after = 0.0
          failed = []
          queue = iter(todo)
          await asyncio.gather(
            *(
              self._work(queue, failed)
              for _ in range(min(limits.connections, len(todo)))
            )
          )
          todo = [(each.url, each.filename) for each in failed]
          if not todo:
            break
      self._summary.missing += failed

  async def _work(
    self, queue: Iterator[tuple[str, str]], failed: list[Missing]
  ) -> None:
    """Tries the pictures of a queue once; adds temporary errors to `failed`."""
    for url, filename in queue:
      try:
        await self._try(url, filename)
        self._summary.fetched += 1
        self._bar.update()
      except _DownloadError as error:
        missing = Missing(url, filename, str(error), error.dead)
        if error.dead:
          self._summary.missing.append(missing)
          self._report.write(missing.to_json())
          self._report.flush()
          self._bar.update()
        else:
          failed.append(missing)

  async def _try(self, url: str, filename: str) -> None:
    host = urllib.parse.urlsplit(url).hostname or ''
    async with self._slots[host]:
      if self._errors[host] >= _PATIENCE:
        raise _DownloadError('host does not answer')
      try:
        data, has_length = await self._get(url)
      except _DownloadError as error:
        self._errors[host] = 0 if error.dead else self._errors[host] + 1
        raise
      self._errors[host] = 0
    try:
      async with self._decoding:
        await asyncio.to_thread(pictures.read_picture, data)
    except pictures.UnusablePictureError as error:
      # Without a known length, the transfer may have been cut short.
      is_dead = has_length or str(error) != 'broken'
      raise _DownloadError(str(error), dead=is_dead) from error
    async with self._writing:
      path = self._folder / filename
      await asyncio.to_thread(files.write_bytes, path, data)

  async def _get(self, url: str) -> tuple[bytes, bool]:
    """Returns a file, and whether the server announced its length."""
    try:
      async with self._session.get(
        url, max_redirects=5, proxy=_proxy(url)
      ) as response:
        if response.status != 200:
          is_busy = response.status in _BUSY
          asked = response.headers.get('Retry-After', '')
          if is_busy and asked.isdecimal():
            seconds = min(float(asked), _MAX_RETRY_AFTER)
            self._retry_after = max(self._retry_after, seconds)
          raise _DownloadError(_phrase(response.status), dead=not is_busy)
        data = bytearray()
        size = response.content_length or 0
        async for chunk in response.content.iter_chunked(1 << 16):
          data += chunk
          size = max(size, len(data))
          if size > self._limits.max_bytes:
            raise _DownloadError('too large', dead=True)
        return bytes(data), response.content_length is not None
    except _DownloadError:
      raise
    except Exception as error:  # No address may end the run.
      raise _explain(error) from error


def _proxy(url: str) -> str | None:
  """Returns the proxy for an address.

  aiohttp's `trust_env` would also send the passwords of the user's .netrc.
  """
  parts = urllib.parse.urlsplit(url)
  if urllib.request.proxy_bypass(parts.netloc):
    return None
  return urllib.request.getproxies().get(parts.scheme)


def _phrase(status: int) -> str:
  try:
    return f'{status} {http.HTTPStatus(status).phrase}'
  except ValueError:
    return str(status)


def main() -> int:
  """Runs the command; returns its exit code."""
  defaults = Limits()
  parser = argparse.ArgumentParser(
    prog='python -m tfds_celeb_id.download',
    description='Downloads the pictures of a list that a folder does not have '
    'yet. Run it again to continue.',
  )
  parser.add_argument('urls', help='file with one address per line')
  parser.add_argument('folder', help='where to write the pictures')
  parser.add_argument(
    '--report',
    help='where to list missing pictures (FOLDER.missing.jsonl)',
  )
  parser.add_argument(
    '--retry-dead',
    action='store_true',
    help='request addresses that the report lists as dead',
  )
  for name, text in {
    'connections': 'open at the same time',
    'per_host': 'connections to the same host',
    'rounds': 'tries per address',
    'timeout': 'seconds per picture',
    'max_bytes': 'bytes per picture',
  }.items():
    default = getattr(defaults, name)
    parser.add_argument(
      f'--{name.replace("_", "-")}',
      type=type(default),
      default=default,
      help=f'{text} ({default})',
    )
  args = vars(parser.parse_args())
  urls, folder = args.pop('urls'), args.pop('folder')
  report = args.pop('report') or f'{folder.rstrip("/")}.missing.jsonl'
  retry_dead = args.pop('retry_dead')
  try:
    if min(args.values()) <= 0:
      raise InputError('limits must be larger than 0')
    summary = download(urls, folder, report, Limits(**args), retry_dead)
  except InputError as error:
    print(f'download: {error}', file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print('download: stopped; run it again to continue', file=sys.stderr)
    return 130
  dead = sum(each.dead for each in summary.missing)
  print(
    f'{summary.fetched} fetched, {summary.there} were there, {dead} dead, '
    f'{len(summary.missing) - dead} to be tried again'
  )
  reasons = collections.Counter(each.reason for each in summary.missing)
  for reason, count in reasons.most_common():
    print(f'{count:8} {reason}')
  print(f'report: {report}')
  return 0


if __name__ == '__main__':
  sys.exit(main())
