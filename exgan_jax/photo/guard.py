"""Refuses requests to the page that did not come from the page.

Any site that the user visits can send requests to a server on this machine,
and can give its own name the address of this machine (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
import urllib.parse
from typing import Any

# Of a request that uploads nothing, in bytes.
_MOST = 2**20
# So many of the largest files may come in one request.
_FILES = 4
# Of the body of a refused request, what is read and forgotten.
_DRAINED = 2**30
_LOCAL = frozenset({'localhost', '127.0.0.1', '::1'})


class Guard:
  """An ASGI application in front of another.

  Args:
    app: that answers what is let through.
    host: address that is served.
    largest: upload of one file, in bytes.
  """

  def __init__(self, app: Any, host: str, largest: int):
    self._app, self._upload = app, _FILES * largest
    self._names = {host.lower(), *_LOCAL}
    self._is_local = _is_local(host)
    if not self._is_local:
      self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

  async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
    """Answers a request, as ASGI says."""
    if scope['type'] not in ('http', 'websocket'):
      await self._app(scope, receive, send)
      return
    told = {
      name.decode('latin-1').lower(): value.decode('latin-1')
      for name, value in scope['headers']
    }
    if not self._is_ours(told):
      await _refuse(scope, receive, send, 403, 'not from this page')
      return
    is_upload = told.get('content-type', '').startswith('multipart/form-data')
    most = self._upload if is_upload else _MOST
    length = told.get('content-length', '0')
    if not length.isdecimal() or int(length) > most:
      await _refuse(scope, receive, send, 413, 'too large')
      return
    await self._limited(scope, receive, send, most)

  async def _limited(
    self, scope: Any, receive: Any, send: Any, most: int
  ) -> None:
    """Ends a request whose body is longer than it said."""
    size, is_begun = 0, False

    async def counted() -> Any:
      nonlocal size
      message = await receive()
      size += len(message.get('body', b''))
      return message if size <= most else {'type': 'http.disconnect'}

    async def watched(message: Any) -> None:
      nonlocal is_begun
      if size <= most or is_begun:
        is_begun = True
        await send(message)

    try:
      await self._app(scope, counted, watched)
    except Exception:
      if size <= most:
        raise
    if size > most and not is_begun:
      await _refuse(scope, receive, send, 413, 'too large')

  def _is_ours(self, told: dict[str, str]) -> bool:
    """Whether a request names this server, and comes from its page if any."""
    host = told.get('host', '')
    try:
      name = urllib.parse.urlsplit(f'//{host}').hostname or ''
    except ValueError:
      return False
    # An address cannot be given to another machine, as a name can.
    if name not in self._names and (self._is_local or not _is_address(name)):
      return False
    origin = told.get('origin')
    if origin is not None:
      return urllib.parse.urlsplit(origin).netloc == host
    return told.get('sec-fetch-site') not in ('cross-site', 'same-site') or (
      told.get('sec-fetch-mode') == 'navigate'
    )


def _is_address(name: str) -> bool:
  try:
    ipaddress.ip_address(name)
  except ValueError:
    return False
  return True


def _is_local(host: str) -> bool:
  if not _is_address(host):
    return host.lower() in _LOCAL
  return ipaddress.ip_address(host).is_loopback


async def _drain(receive: Any) -> None:
  """Reads a body to its end: a browser shows no answer before it."""
  size = 0
  while size < _DRAINED:
    message = await receive()
    size += len(message.get('body', b''))
    if message['type'] != 'http.request' or not message.get('more_body'):
      return


async def _refuse(
  scope: Any, receive: Any, send: Any, status: int, reason: str
) -> None:
  if scope['type'] == 'websocket':
    await send({'type': 'websocket.close', 'code': 1008})
    return
  await _drain(receive)
  body = reason.encode()
  head = [(b'content-type', b'text/plain'), (b'connection', b'close')]
  await send({'type': 'http.response.start', 'status': status, 'headers': head})
  await send({'type': 'http.response.body', 'body': body})
