"""Fetching many pictures at once from hosts that mostly do not answer."""

import asyncio
import collections
import contextlib
import hashlib
import http
import os
import pathlib
import tempfile
import time
import urllib.parse

import aiohttp

from tfds_celeb_id import pictures, progress
from tfds_celeb_id.download import files

_USER_AGENT = 'exgan_jax (research; tfds_celeb_id.download)'
# A host that failed so often in a row is left alone until the next round.
_PATIENCE = 8
_LONGEST_WAIT = 60  # Seconds, whatever a server asks for.
_BUSY = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524}
_TYPES = ('image/', 'application/octet-stream', 'binary/octet-stream')


class _FailedError(Exception):
  """A picture was not fetched; `dead` tells whether it ever will be."""

  def __init__(self, reason: str, dead: bool = False):
    super().__init__(reason)
    self.dead = dead


class Fetcher:
  """Fetches pictures into a folder, round by round."""

  def __init__(self, folder: pathlib.Path, limits: files.Limits, journal):
    self._folder = folder
    self._limits = limits
    self._journal = journal
    self._hosts = collections.defaultdict(
      lambda: asyncio.Semaphore(limits.per_host)
    )
    self._not_before = collections.defaultdict(float)
    self._silent = collections.Counter()

  async def fetch(
    self, todo: list[files.Picture], summary: files.Summary
  ) -> None:
    """Fetches pictures; adds what becomes of them to `summary`."""
    # Scattered, so that neighbours in the list do not wait for one host.
    todo = sorted(todo, key=lambda p: hashlib.sha256(p.url.encode()).digest())
    limits = self._limits
    async with aiohttp.ClientSession(
      connector=aiohttp.TCPConnector(
        limit=limits.connections, limit_per_host=limits.per_host
      ),
      cookie_jar=aiohttp.DummyCookieJar(),
      headers={'User-Agent': _USER_AGENT},
      timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.timeout),
      trust_env=True,
    ) as self._session:
      with progress.bar(total=len(todo), unit=' pictures') as self._bar:
        for number in range(limits.rounds):
          if number:
            await asyncio.sleep(limits.pause * 2 ** (number - 1))
          failed = await self._round(todo, summary)
          todo = [files.Picture(each.url, each.filename) for each in failed]
          if not todo:
            return
        summary.missing += failed

  async def _round(
    self, todo: list[files.Picture], summary: files.Summary
  ) -> list[files.Missing]:
    """Tries each picture once; returns those that may succeed another time."""
    failed = []
    self._silent.clear()
    queue = iter(todo)
    dead = 0

    async def work():
      nonlocal dead
      for picture in queue:
        try:
          await self._try(picture)
        except _FailedError as error:
          missing = files.Missing(
            picture.url, picture.filename, str(error), error.dead
          )
          if error.dead:
            self._journal.write(files.line_of(missing))
            self._journal.flush()
            summary.missing.append(missing)
            dead += 1
            self._bar.update()
          else:
            failed.append(missing)
        else:
          summary.fetched += 1
          self._bar.update()
        self._bar.set_postfix(dead=dead, later=len(failed), refresh=False)

    workers = min(self._limits.connections, len(todo))
    try:
      async with asyncio.TaskGroup() as group:
        for _ in range(workers):
          group.create_task(work())
    except ExceptionGroup as errors:
      raise errors.exceptions[0] from None  # The disk is full for all alike.
    return failed

  async def _try(self, picture: files.Picture) -> None:
    host = urllib.parse.urlsplit(picture.url).hostname
    async with self._hosts[host]:
      if self._silent[host] >= _PATIENCE:
        raise _FailedError('its host does not answer')
      await asyncio.sleep(self._not_before[host] - time.monotonic())
      try:
        async with asyncio.timeout(self._limits.timeout):
          await self._get(picture, host)
        self._silent[host] = 0
      except _FailedError:
        self._silent[host] = 0
        raise
      except TimeoutError as error:
        self._silent[host] += 1
        raise _FailedError(
          f'took longer than {self._limits.timeout:g} s'
        ) from error
      except aiohttp.TooManyRedirects as error:
        raise _FailedError('redirected without end', dead=True) from error
      except (
        aiohttp.InvalidURL,
        aiohttp.NonHttpUrlClientError,
      ) as error:
        raise _FailedError('leads to no http address', dead=True) from error
      except aiohttp.ClientPayloadError as error:
        raise _FailedError('cut short') from error
      except aiohttp.ClientError as error:
        self._silent[host] += 1
        raise _FailedError(_reason(error)) from error

  async def _get(self, picture: files.Picture, host: str) -> None:
    async with self._session.get(picture.url, max_redirects=5) as response:
      if response.status in _BUSY:
        self._not_before[host] = time.monotonic() + _retry_after(response)
        raise _FailedError(_phrase(response.status))
      if response.status != 200:
        raise _FailedError(_phrase(response.status), dead=True)
      if response.headers.get('Content-Type') and not (
        response.content_type.startswith(_TYPES)
      ):
        raise _FailedError(
          f'{response.content_type} instead of a picture', dead=True
        )
      if (response.content_length or 0) > self._limits.max_bytes:
        raise _FailedError('too large', dead=True)
      await self._save(picture, response)

  async def _save(self, picture: files.Picture, response) -> None:
    with files.writing(self._folder):
      handle, part = tempfile.mkstemp(dir=self._folder, prefix=files.PART)
    try:
      with open(handle, 'wb') as file:
        size = 0
        async for chunk in response.content.iter_chunked(1 << 16):
          size += len(chunk)
          if size > self._limits.max_bytes:
            raise _FailedError('too large', dead=True)
          with files.writing(self._folder):
            file.write(chunk)
        with files.writing(self._folder):
          file.flush()
      try:
        await asyncio.to_thread(pictures.read_picture, part)
      except pictures.UnusablePictureError as error:
        raise _FailedError(str(error), dead=True) from error
      os.chmod(part, 0o644)  # Temporary files are their owner's alone.
      os.replace(part, self._folder / picture.filename)
    finally:
      with contextlib.suppress(FileNotFoundError):
        os.unlink(part)


def _retry_after(response) -> float:
  """Returns for how many seconds a server wants to be left alone."""
  asked = response.headers.get('Retry-After', '')
  return min(float(asked), _LONGEST_WAIT) if asked.isdecimal() else 0.0


def _phrase(status: int) -> str:
  # Not the server's own words, which may be anything.
  known = status in set(http.HTTPStatus)
  return f'{status} {http.HTTPStatus(status).phrase}' if known else f'{status}'


def _reason(error: Exception) -> str:
  if isinstance(error, aiohttp.ClientConnectorDNSError):
    return 'its host is not known'
  if isinstance(error, aiohttp.ClientConnectorError):
    return 'its host cannot be reached'
  return f'{type(error).__name__}'
