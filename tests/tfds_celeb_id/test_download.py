"""The downloader against a server that misbehaves."""

import collections
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from exgan_jax.errors import InputError

pytest.importorskip('aiohttp')

from tfds_celeb_id import download

pytestmark = pytest.mark.slow


def _picture():
  noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
  buffer = io.BytesIO()
  Image.fromarray(noise).save(buffer, 'JPEG')
  return buffer.getvalue()


PICTURE = _picture()


class _Handler(http.server.BaseHTTPRequestHandler):
  """Does what the first part of the path says."""

  def do_GET(self):
    self.server.asked[self.path] += 1
    self.server.headers.append(dict(self.headers))
    kind = self.path.split('/')[1]
    getattr(self, f'_{kind}')()

  def _send(self, status, body=b'', length=None, **headers):
    self.send_response(status)
    if length != 'unknown':
      size = len(body) if length is None else length
      self.send_header('Content-Length', size)
    for name, value in headers.items():
      self.send_header(name, value)
    self.end_headers()
    self.wfile.write(body)

  def _good(self):
    self._send(200, PICTURE)

  def _slow(self):
    with self.server.lock:
      self.server.busy += 1
      self.server.busiest = max(self.server.busiest, self.server.busy)
    time.sleep(0.15)
    with self.server.lock:
      self.server.busy -= 1
    self._send(200, PICTURE)

  def _gone(self):
    self._send(404)

  def _teapot(self):
    self._send(799)

  def _at_second(self):
    again = self.server.asked[self.path] > 1
    self._send(200 if again else 500, PICTURE if again else b'')

  def _busy(self):
    self._send(503, **{'Retry-After': '0'})

  def _loop(self):
    self._send(302, Location=self.path)

  def _elsewhere(self):
    self._send(302, Location='file:///etc/passwd')

  def _moved(self):
    self._send(302, Location='/good/other-name.jpg')

  def _nowhere(self):
    self._send(302, Location=f'http://{"a" * 64}.com/a-1.jpg')

  def _cut(self):
    self._send(200, PICTURE[:1000], length=len(PICTURE))

  def _endless(self, chunk=bytes(1 << 16), pause=0.0):
    self._send(200, length='unknown')
    try:
      while True:
        self.wfile.write(chunk)
        time.sleep(pause)
    except OSError:
      self.server.hung_up.append(self.path)

  def _trickle(self):
    self._endless(b'x', 0.05)

  def _html(self):
    self._send(200, b'<html>Sorry</html>')

  def _broken_off(self):
    self._send(200, PICTURE[:2000], length='unknown')

  def _truncated(self):
    self._send(200, PICTURE[:2000])

  def _huge(self):
    self._send(200, PICTURE, length=2 << 30)

  def log_message(self, *_):
    pass


@pytest.fixture
def server():
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), _Handler)
  server.asked = collections.Counter()
  server.hung_up = []
  server.lock = threading.Lock()
  server.headers = []
  server.busy = server.busiest = 0
  server.daemon_threads = True
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  server.url = f'http://127.0.0.1:{server.server_port}'
  yield server
  server.shutdown()
  server.server_close()
  thread.join(60)


# A busy machine may take seconds for what should take none.
LIMITS = download.Limits(
  connections=8, per_host=8, rounds=2, timeout=30, max_bytes=100_000, pause=0.01
)


class _Place:
  """A list of addresses, and where its pictures and its report go."""

  def __init__(self, path, url, names):
    self.urls = path / 'urls.txt'
    self.folder = path / 'raw'
    self.report = path / 'missing.jsonl'
    self.urls.write_text(''.join(f'{url}/{name}\n' for name in names))

  def download(self, limits=LIMITS, **kwargs):
    return download.download(
      self.urls, self.folder, self.report, limits, **kwargs
    )

  def reasons(self):
    lines = map(json.loads, self.report.read_text().splitlines())
    return {
      line['url'].split('/', 3)[3]: (line['reason'], line['dead'])
      for line in lines
    }

  def names(self):
    return sorted(os.listdir(self.folder))


BAD = {
  'gone/a-1.jpg': ('404 Not Found', True),
  'teapot/a-2.jpg': ('799', True),
  'loop/a-3.jpg': ('too many redirects', True),
  'elsewhere/a-4.jpg': ('leads to no http address', True),
  'html/a-5.jpg': ('not a picture', True),
  'truncated/a-7.jpg': ('broken', True),
  'huge/a-8.jpg': ('too large', True),
  'endless/a-9.jpg': ('too large', True),
  'nowhere/a-13.jpg': ('invalid host name', True),
  'broken_off/a-14.jpg': ('broken', False),
  'busy/a-10.jpg': ('503 Service Unavailable', False),
  'cut/a-11.jpg': ('cut short', False),
}


def test_downloads_good_pictures_and_reports_bad_ones(server, tmp_path):
  good = ['good/b-1.jpg', 'at_second/b-2.jpg', 'moved/b-3.jpg']
  place = _Place(tmp_path, server.url, [*BAD, *good])
  summary = place.download()
  assert place.reasons() == BAD
  assert (summary.fetched, summary.there) == (3, 0)
  assert place.names() == ['b-1.jpg', 'b-2.jpg', 'b-3.jpg']
  for name in place.names():
    assert (place.folder / name).read_bytes() == PICTURE
  # It hangs up, which the server may see a little later.
  deadline = time.monotonic() + 10
  while set(server.hung_up) != {'/endless/a-9.jpg'}:
    assert time.monotonic() < deadline
    time.sleep(0.02)
  for name, (_, dead) in BAD.items():
    if not name.startswith('loop'):
      assert server.asked[f'/{name}'] == (1 if dead else 2)


def test_slow_transfers_time_out(server, tmp_path):
  place = _Place(tmp_path, server.url, ['trickle/a-1.jpg'])
  place.download(download.Limits(rounds=2, timeout=0.5, pause=0.01))
  assert place.reasons() == {'trickle/a-1.jpg': ('timed out', False)}
  assert place.names() == [] and server.asked['/trickle/a-1.jpg'] == 2


def test_a_second_run_skips_existing_and_dead_pictures(server, tmp_path):
  place = _Place(tmp_path, server.url, [*BAD, 'good/b-1.jpg'])
  place.download()
  server.asked.clear()
  summary = place.download()
  assert (summary.fetched, summary.there) == (0, 1)
  asked = {path[1:] for path in server.asked}
  assert asked == {name for name, (_, dead) in BAD.items() if not dead}
  assert place.reasons() == BAD
  place.report.write_text(place.report.read_text() + '{"url": "half a li')
  server.asked.clear()
  place.download(retry_dead=True)
  assert {path[1:] for path in server.asked} == set(BAD)
  assert place.reasons() == BAD


def test_names_are_plain_and_stay_in_the_folder(server, tmp_path):
  names = [
    *('good/..', 'good/x/../up-1.jpg', 'good/..%2f..%2fevil-1.jpg'),
    *('good/a%2f..%2fevil-1.jpg', 'good/.hidden', 'good/', 'good/a\\b-1.jpg'),
    *('good/c-1.jpg?size=2', 'good/again/c-1.jpg'),
    f'good/{"long" * 70}-1.jpg',
  ]
  place = _Place(tmp_path, server.url, names)
  with open(place.urls, 'a') as file:
    file.write(f'http://{"a" * 64}.com/e-1.jpg\nhttp://a..b/e-2.jpg\n')
    file.write('ftp://host/d-1.jpg\nhttp://[/d-2.jpg\nfile:///etc/passwd\n\n')
  summary = place.download()
  # Escapes are not undone, as in Celeb-ID's parameters.
  fetched = ['a%2f..%2fevil-1.jpg', 'c-1.jpg', 'up-1.jpg']
  assert place.names() == fetched and summary.fetched == 3
  assert sorted(os.listdir(tmp_path)) == ['missing.jsonl', 'raw', 'urls.txt']
  reasons = collections.Counter(each.reason for each in summary.missing)
  assert reasons == {
    'not a plain file name': 6,
    'not an http address': 3,
    'invalid host name': 2,
    'the name of an earlier picture': 1,
  }


def test_a_host_that_is_down_is_retried_later(tmp_path, server):
  names = [f'good/a-{i}.jpg' for i in range(20)]
  summary = _Place(tmp_path, 'http://127.0.0.1:9', names).download()
  assert not any(each.dead for each in summary.missing)
  assert {each.reason for each in summary.missing} <= {
    'host cannot be reached',
    'host does not answer',
  }
  assert _Place(tmp_path, server.url, names).download().fetched == 20


def test_connections_per_host_are_limited(server, tmp_path):
  place = _Place(tmp_path, server.url, [f'slow/a-{i}.jpg' for i in range(8)])
  place.download(download.Limits(connections=8, per_host=2))
  assert server.busiest == 2


def test_a_busy_host_is_skipped_and_delays_no_other(server, tmp_path):
  names = [f'busy/a-{i}.jpg' for i in range(20)]
  place = _Place(tmp_path, server.url, names)
  other = server.url.replace('127.0.0.1', 'localhost')
  with open(place.urls, 'a') as file:
    file.writelines(f'{other}/good/b-{i}.jpg\n' for i in range(20))
  summary = place.download()
  assert summary.fetched == 20
  assert {each.reason for each in summary.missing} <= {
    *('503 Service Unavailable', 'host does not answer')
  }
  # Per round: errors until the host is skipped, and requests under way then.
  asked = sum(n for path, n in server.asked.items() if 'busy' in path)
  assert asked <= 2 * 16


def test_no_password_is_sent(server, tmp_path, monkeypatch):
  netrc = tmp_path / 'netrc'
  netrc.write_text('machine 127.0.0.1 login me password secret\n')
  netrc.chmod(0o600)
  monkeypatch.setenv('NETRC', str(netrc))
  place = _Place(tmp_path, server.url, ['good/a-1.jpg'])
  assert place.download().fetched == 1
  assert not any('Authorization' in headers for headers in server.headers)


def _whole(place):
  return [name for name in place.names() if not name.startswith('.')]


def _command(place, *more):
  return [
    *(sys.executable, '-m', 'tfds_celeb_id.download', str(place.urls)),
    *(str(place.folder), '--report', str(place.report), *more),
  ]


def _run(place, *more):
  return subprocess.run(
    _command(place, *more),
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )


@pytest.mark.parametrize('kind', [signal.SIGKILL, signal.SIGINT])
def test_killed_and_started_again(server, tmp_path, kind):
  names = [f'slow/a-{i}.jpg' for i in range(40)]
  place = _Place(tmp_path, server.url, ['gone/b-1.jpg', *names])
  # Where tests run in the background SIGINT is ignored, by their children too.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  process = subprocess.Popen(
    _command(place, '--per-host', '2'), stderr=subprocess.PIPE, text=True
  )
  signal.signal(signal.SIGINT, before)
  deadline = time.monotonic() + 60
  while not (place.folder.is_dir() and len(_whole(place)) > 8):
    assert time.monotonic() < deadline and process.poll() is None
    time.sleep(0.02)
  process.send_signal(kind)
  _, errors = process.communicate(timeout=60)
  if kind == signal.SIGINT:
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith('download: stopped')
  whole = _whole(place)
  assert 8 < len(whole) < 40
  for name in whole:
    assert (place.folder / name).read_bytes() == PICTURE
  before = server.asked.copy()
  result = _run(place, '--per-host', '20')
  assert result.returncode == 0, result.stderr
  assert f'{40 - len(whole)} fetched, {len(whole)} were there, 1 dead' in (
    result.stdout
  )
  for name in whole:
    assert server.asked[f'/slow/{name}'] == before[f'/slow/{name}']
  assert set(_whole(place)) == {name.partition('/')[2] for name in names}


@pytest.mark.parametrize('bad', ['missing', 'empty', 'folder', 'limit'])
def test_bad_input_is_one_line_and_code_2(tmp_path, bad):
  place = _Place(tmp_path, 'http://127.0.0.1:9', ['good/a-1.jpg'])
  more = []
  if bad == 'missing':
    place.urls.unlink()
  elif bad == 'empty':
    place.urls.write_text('# nothing\n')
  elif bad == 'folder':
    place.folder.write_text('a file')
  else:
    more = ['--rounds', '0']
  result = _run(place, *more)
  assert result.returncode == 2
  (line,) = result.stderr.splitlines()
  assert line.startswith('download: ')


def test_a_full_disk_ends_the_run(server, tmp_path, monkeypatch):
  place = _Place(tmp_path, server.url, ['good/a-1.jpg', 'good/a-2.jpg'])
  report = download.files.write_bytes

  def full(path, data):
    if path != place.report:
      raise OSError(28, 'No space left on device', str(path))
    report(path, data)

  monkeypatch.setattr(download.files, 'write_bytes', full)
  with pytest.raises(InputError, match=r'cannot write .*jpg: No space left'):
    place.download()
