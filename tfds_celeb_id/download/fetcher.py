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
import urllib.request
from collections.abc import Iterator
from concurrent import futures

import aiohttp

from exgan_jax.errors import InputError
from exgan_jax.face_records import parallel, pictures, progress
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
  """Fetches pictures into a folder, round by round.

  Args:
    folder: for the pictures.
    limits: of what is asked for.
    note: called with each picture that is found dead.
  """

  def __init__(self, folder: pathlib.Path, limits: files.Limits, note):
    self._folder = folder
    self._limits = limits
    self._note = note
    self._hosts = collections.defaultdict(
      lambda: asyncio.Semaphore(limits.per_host)
    )
    self._not_before = collections.defaultdict(float)
    self._failures = collections.Counter()  # In a row, of each host.
    self._decoders = futures.ThreadPoolExecutor(parallel.cpu_count())

  async def fetch(
    self, todo: list[files.Picture], summary: files.Summary
  ) -> None:
    """Fetches pictures; adds what becomes of them to `summary`."""
    # Scattered, so that neighbours in the list do not wait for one host.
    todo = sorted(todo, key=lambda p: hashlib.sha256(p.url.encode()).digest())
    limits = self._limits
    # Where names are looked up, and mostly not found.
    asyncio.get_running_loop().set_default_executor(
      futures.ThreadPoolExecutor(limits.connections)
    )
    async with aiohttp.ClientSession(
      connector=aiohttp.TCPConnector(
        limit=limits.connections, limit_per_host=limits.per_host
      ),
      cookie_jar=aiohttp.DummyCookieJar(),
      headers={'User-Agent': _USER_AGENT},
      timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.timeout),
    ) as self._session:
      with progress.bar(total=len(todo), unit=' pictures') as self._bar:
        for number in range(limits.rounds):
          if number:
            await asyncio.sleep(self._pause(number))
          failed = await self._round(todo, summary)
          todo = [files.Picture(each.url, each.filename) for each in failed]
          if not todo:
            return
        summary.missing += failed

  def _pause(self, number: int) -> float:
    """Returns the seconds before a round: also what busy hosts asked for."""
    asked = max(self._not_before.values(), default=0.0) - time.monotonic()
    return max(self._limits.pause * 2 ** (number - 1), asked)

  async def _round(
    self, todo: list[files.Picture], summary: files.Summary
  ) -> list[files.Missing]:
    """Tries each picture once; returns those that may succeed another time."""
    failed = []
    self._failures.clear()
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
            self._note(missing)
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
      if self._failures[host] >= _PATIENCE:
        raise _FailedError('its host does not answer')
      if self._not_before[host] > time.monotonic():
        # Others need not wait for it; the next round does.
        raise _FailedError('its host is busy')
      try:
        with _explained(self._limits.timeout):
          async with asyncio.timeout(self._limits.timeout):
            part, is_whole = await self._get(picture, host)
      except _FailedError as error:
        # A host that says no is one that answers.
        self._failures[host] = 0 if error.dead else self._failures[host] + 1
        raise
      self._failures[host] = 0
    # Not on the host's time.
    await self._keep(picture, part, is_whole)

  async def _get(self, picture: files.Picture, host: str) -> tuple[str, bool]:
    """Returns the path of a part, and whether its length was told before."""
    async with self._session.get(
      picture.url, max_redirects=5, proxy=_proxy(picture.url)
    ) as response:
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
      length = response.content_length
      if (length or 0) > self._limits.max_bytes:
        raise _FailedError('too large', dead=True)
      return await self._save(response), length is not None

  async def _save(self, response) -> str:
    with files.writing(self._folder):
      handle, part = tempfile.mkstemp(dir=self._folder, prefix=files.PART)
    try:
      size = 0
      # Unbuffered: nothing is left to be written, and to fail, at the end.
      with open(handle, 'wb', buffering=0) as file:
        async for chunk in response.content.iter_chunked(1 << 16):
          size += len(chunk)
          if size > self._limits.max_bytes:
            raise _FailedError('too large', dead=True)
          with files.writing(self._folder):
            file.write(chunk)
    except BaseException:
      os.unlink(part)
      raise
    return part

  async def _keep(
    self, picture: files.Picture, part: str, is_whole: bool
  ) -> None:
    """Gives a part its name if it is a picture."""
    try:
      await asyncio.get_running_loop().run_in_executor(
        self._decoders, pictures.read_picture, part
      )
      with files.writing(self._folder):
        os.chmod(part, 0o644)  # Temporary files are their owner's alone.
        os.replace(part, self._folder / picture.filename)
    except pictures.UnusablePictureError as error:
      # What came without a length may have been cut short.
      is_dead = is_whole or str(error) != 'broken'
      raise _FailedError(str(error), dead=is_dead) from error
    finally:
      with contextlib.suppress(FileNotFoundError):
        os.unlink(part)


@contextlib.contextmanager
def _explained(timeout: float) -> Iterator[None]:
  """Turns what the HTTP library raises into reasons."""
  try:
    yield
  except (_FailedError, InputError):
    raise
  except TimeoutError as error:
    raise _FailedError(f'took longer than {timeout:g} s') from error
  except aiohttp.TooManyRedirects as error:
    raise _FailedError('redirected without end', dead=True) from error
  except (
    *(aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError),
    UnicodeError,  # A host's name that cannot be one.
  ) as error:
    raise _FailedError('leads to no http address', dead=True) from error
  except aiohttp.ClientPayloadError as error:
    raise _FailedError('cut short') from error
  except aiohttp.ClientConnectorDNSError as error:
    raise _FailedError('its host is not known') from error
  except aiohttp.ClientConnectorError as error:
    raise _FailedError('its host cannot be reached') from error
  except Exception as error:  # One address must not end the run.
    raise _FailedError(type(error).__name__) from error


def _proxy(url: str) -> str | None:
  """Returns the proxy that the environment names for an address.

  The library would look for it itself, and for the user's passwords as well.
  """
  parts = urllib.parse.urlsplit(url)
  if urllib.request.proxy_bypass_environment(parts.netloc):
    return None
  return urllib.request.getproxies_environment().get(parts.scheme)


def _retry_after(response) -> float:
  """Returns for how many seconds a server wants to be left alone."""
  asked = response.headers.get('Retry-After', '')
  return min(float(asked), _LONGEST_WAIT) if asked.isdecimal() else 0.0


def _phrase(status: int) -> str:
  # Not the server's own words, which may be anything.
  known = status in set(http.HTTPStatus)
  return f'{status} {http.HTTPStatus(status).phrase}' if known else f'{status}'
