"""Requests that do not come from the page are refused."""

import asyncio

import pytest

from exgan_jax.photo.guard import Guard

LARGEST = 2**20
UPLOAD = {'content-type': 'multipart/form-data; boundary=x'}


def ask(headers, host='127.0.0.1', bodies=(b'',), kind='http'):
  """Sends a request; returns its status, and the bytes that came through."""
  sent, seen = [], bytearray()
  parts = [
    {'type': 'http.request', 'body': body, 'more_body': i < len(bodies) - 1}
    for i, body in enumerate(bodies)
  ]

  async def receive():
    return parts.pop(0) if parts else {'type': 'http.disconnect'}

  async def send(message):
    sent.append(message)

  async def app(scope, receive, send):
    while kind == 'http':
      message = await receive()
      if message['type'] == 'http.disconnect':
        raise RuntimeError('the client has gone')
      seen.extend(message['body'])
      if not message['more_body']:
        break
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})

  told = {'host': '127.0.0.1:7860'} | headers
  scope = {
    'type': kind,
    'headers': [(k.encode(), v.encode()) for k, v in told.items()],
  }
  asyncio.run(Guard(app, host, LARGEST)(scope, receive, send))
  return sent[0].get('status', sent[0].get('code')), bytes(seen)


@pytest.mark.parametrize(
  ('headers', 'host', 'status'),
  [
    ({}, '127.0.0.1', 200),
    ({'host': 'localhost:7860'}, '127.0.0.1', 200),
    ({'host': '[::1]:7860'}, '::1', 200),
    ({'host': 'evil.example:7860'}, '127.0.0.1', 403),
    ({'host': '192.168.0.7:7860'}, '127.0.0.1', 403),
    ({'host': ''}, '127.0.0.1', 403),
    ({'host': '[::1'}, '127.0.0.1', 403),
    ({'host': '192.168.0.7:7860'}, '0.0.0.0', 200),
    ({'host': 'my.machine'}, 'my.machine', 200),
    ({'host': 'evil.example:7860'}, '0.0.0.0', 403),
    ({'origin': 'http://127.0.0.1:7860'}, '127.0.0.1', 200),
    ({'origin': 'http://127.0.0.1:8000'}, '127.0.0.1', 403),
    ({'origin': 'http://evil.example'}, '127.0.0.1', 403),
    ({'origin': 'null'}, '127.0.0.1', 403),
    ({'sec-fetch-site': 'cross-site'}, '127.0.0.1', 403),
    (
      {'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate'},
      '127.0.0.1',
      200,
    ),
    ({'sec-fetch-site': 'same-origin'}, '127.0.0.1', 200),
  ],
)
def test_who_may_ask(headers, host, status):
  assert ask(headers, host)[0] == status


def test_a_foreign_socket_is_closed():
  assert ask({'origin': 'http://evil.example'}, kind='websocket')[0] == 1008
  assert ask({}, kind='websocket')[0] == 200


@pytest.mark.parametrize(
  ('headers', 'size', 'status'),
  [
    ({}, 2**20, 200),
    ({}, 2**20 + 1, 413),
    (UPLOAD, 4 * LARGEST, 200),
    (UPLOAD, 4 * LARGEST + 1, 413),
  ],
)
@pytest.mark.parametrize('says', [False, True])
def test_how_much_may_be_sent(headers, size, status, says):
  if says:
    headers = headers | {'content-length': str(size)}
  half = size // 2
  found, seen = ask(headers, bodies=(bytes(half), bytes(size - half)))
  assert found == status
  assert len(seen) == (size if status == 200 else 0 if says else half)


@pytest.mark.parametrize('length', ['-1', 'many', '1e9'])
def test_a_length_is_a_number(length):
  assert ask({'content-length': length})[0] == 413
