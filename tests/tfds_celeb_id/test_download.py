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
from tfds_celeb_id import download
from tfds_celeb_id.download import files

pytest.importorskip('aiohttp')


def _picture():
  noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
  buffer = io.BytesIO()
  Image.fromarray(noise).save(buffer, 'JPEG')
  return buffer.getvalue()


PICTURE = _picture()


class _Handler(http.server.BaseHTTPRequestHandler):
  """Does what the first part of the address says."""

  def do_GET(self):
    self.server.asked[self.path] += 1
    self.server.headers.append(dict(self.headers))
    kind = self.path.split('/')[1]
    getattr(self, f'_{kind}')()

  def _send(self, status, body=b'', kind='image/jpeg', length=None, **headers):
    self.send_response(status)
    self.send_header('Content-Type', kind)
    self.send_header('Content-Length', len(body) if length is None else length)
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

  def _cut(self):
    self._send(200, PICTURE[:1000], length=len(PICTURE))

  def _endless(self):
    self.send_response(200)
    self.send_header('Content-Type', 'image/jpeg')
    self.end_headers()
    try:
      while True:
        self.wfile.write(bytes(1 << 16))
    except OSError:
      self.server.hung_up.append(self.path)

  def _trickle(self):
    self.send_response(200)
    self.send_header('Content-Type', 'image/jpeg')
    self.end_headers()
    try:
      while True:
        self.wfile.write(b'x')
        time.sleep(0.05)
    except OSError:
      self.server.hung_up.append(self.path)

  def _html(self):
    self._send(200, b'<html>Sorry</html>', 'text/html; charset=utf-8')

  def _disguised(self):
    self._send(200, b'<html>Sorry</html>')

  def _nowhere(self):
    self._send(302, Location=f'http://{"a" * 64}.com/a-1.jpg')

  def _broken_off(self):
    # Without a length, so that nobody can tell that more was to come.
    self.send_response(200)
    self.end_headers()
    self.wfile.write(PICTURE[:2000])

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

  def __init__(self, path, server, names):
    self.urls = path / 'urls.txt'
    self.folder = path / 'raw'
    self.report = path / 'missing.jsonl'
    self.urls.write_text(
      ''.join(f'{server.url}/{name}\n' for name in names), encoding='utf-8'
    )

  def download(self, **kwargs):
    return download.download(
      self.urls, self.folder, self.report, LIMITS, **kwargs
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
  'loop/a-3.jpg': ('redirected without end', True),
  'elsewhere/a-4.jpg': ('leads to no http address', True),
  'html/a-5.jpg': ('text/html instead of a picture', True),
  'disguised/a-6.jpg': ('not a picture', True),
  'truncated/a-7.jpg': ('broken', True),
  'huge/a-8.jpg': ('too large', True),
  'endless/a-9.jpg': ('too large', True),
  'nowhere/a-13.jpg': ('leads to no http address', True),
  'broken_off/a-14.jpg': ('broken', False),
  'busy/a-10.jpg': ('503 Service Unavailable', False),
  'cut/a-11.jpg': ('cut short', False),
}


def test_fetches_what_can_be_had_and_says_why_the_rest_cannot(server, tmp_path):
  good = ['good/b-1.jpg', 'at_second/b-2.jpg', 'moved/b-3.jpg']
  place = _Place(tmp_path, server, [*BAD, *good])
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


def test_a_trickle_is_not_waited_for(server, tmp_path):
  place = _Place(tmp_path, server, ['trickle/a-1.jpg'])
  limits = download.Limits(rounds=2, timeout=0.5, pause=0.01)
  download.download(place.urls, place.folder, place.report, limits)
  assert place.reasons() == {
    'trickle/a-1.jpg': ('took longer than 0.5 s', False)
  }
  assert place.names() == [] and server.asked['/trickle/a-1.jpg'] == 2


def test_goes_on_with_what_is_missing(server, tmp_path):
  place = _Place(tmp_path, server, [*BAD, 'good/b-1.jpg'])
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
    'good/..',
    'good/x/../up-1.jpg',
    'good/..%2f..%2fevil-1.jpg',
    'good/a%2f..%2fevil-1.jpg',
    'good/.hidden',
    'good/',
    'good/a\\b-1.jpg',
    'good/c-1.jpg?size=2',
    'good/again/c-1.jpg',
    f'good/{"long" * 70}-1.jpg',
  ]
  place = _Place(tmp_path, server, names)
  with open(place.urls, 'a') as file:
    file.write(f'http://{"a" * 64}.com/e-1.jpg\nhttp://a..b/e-2.jpg\n')
    file.write('ftp://host/d-1.jpg\nhttp://[/d-2.jpg\nfile:///etc/passwd\n\n')
  summary = place.download()
  # Escapes are not undone, as Celeb-ID's parameters have them.
  fetched = ['a%2f..%2fevil-1.jpg', 'c-1.jpg', 'up-1.jpg']
  assert place.names() == fetched and summary.fetched == 3
  assert sorted(os.listdir(tmp_path)) == ['missing.jsonl', 'raw', 'urls.txt']
  reasons = collections.Counter(each.reason for each in summary.missing)
  assert reasons == {
    'not a plain file name': 6,
    'not an http address': 3,
    'leads to no http address': 2,
    'the name of an earlier picture': 1,
  }


def test_a_host_that_is_not_there_may_come_back(tmp_path, server):
  server_url, server.url = server.url, 'http://127.0.0.1:9'
  place = _Place(tmp_path, server, [f'good/a-{i}.jpg' for i in range(20)])
  summary = place.download()
  assert not any(each.dead for each in summary.missing)
  assert {each.reason for each in summary.missing} <= {
    'its host cannot be reached',
    'its host does not answer',
  }
  server.url = server_url
  place = _Place(tmp_path, server, [f'good/a-{i}.jpg' for i in range(20)])
  assert place.download().fetched == 20


def test_asks_no_host_for_more_at_once_than_allowed(server, tmp_path):
  place = _Place(tmp_path, server, [f'slow/a-{i}.jpg' for i in range(8)])
  limits = download.Limits(connections=8, per_host=2)
  download.download(place.urls, place.folder, place.report, limits)
  assert server.busiest == 2


def test_what_is_under_way_does_not_count_as_failed(server, tmp_path):
  place = _Place(tmp_path, server, [f'slow/a-{i}.jpg' for i in range(40)])
  limits = download.Limits(connections=40, per_host=20, rounds=1)
  summary = download.download(place.urls, place.folder, place.report, limits)
  assert summary.fetched == 40 and not summary.missing


def test_a_busy_host_is_left_alone_and_keeps_nobody_waiting(server, tmp_path):
  names = [f'busy/a-{i}.jpg' for i in range(20)]
  place = _Place(tmp_path, server, names)
  other = server.url.replace('127.0.0.1', 'localhost')
  with open(place.urls, 'a') as file:
    file.writelines(f'{other}/good/b-{i}.jpg\n' for i in range(20))
  summary = place.download()
  assert summary.fetched == 20
  assert {each.reason for each in summary.missing} <= {
    *('503 Service Unavailable', 'its host is busy', 'its host does not answer')
  }
  # No more than it takes to see that it does not want to, in each round.
  asked = sum(n for path, n in server.asked.items() if 'busy' in path)
  assert asked <= 2 * 16


def test_no_password_of_the_users_leaves(server, tmp_path, monkeypatch):
  netrc = tmp_path / 'netrc'
  netrc.write_text('machine 127.0.0.1 login me password secret\n')
  netrc.chmod(0o600)
  monkeypatch.setenv('NETRC', str(netrc))
  place = _Place(tmp_path, server, ['good/a-1.jpg'])
  assert place.download().fetched == 1
  assert not any('Authorization' in headers for headers in server.headers)


def test_what_a_killed_run_left_is_removed_when_it_is_old(server, tmp_path):
  place = _Place(tmp_path, server, ['good/a-1.jpg'])
  place.folder.mkdir()
  old, young = (place.folder / f'{files.PART}{i}' for i in range(2))
  old.write_bytes(b'half a picture')
  young.write_bytes(b'half a picture')
  os.utime(old, (0, 0))
  place.download()
  assert place.names() == [young.name, 'a-1.jpg']


def _whole(place):
  return [name for name in place.names() if not name.startswith('.')]


def _command(place, *more):
  return [
    *(sys.executable, '-m', 'tfds_celeb_id.download', str(place.urls)),
    *(str(place.folder), '--report', str(place.report), *more),
  ]


@pytest.mark.parametrize('kind', [signal.SIGKILL, signal.SIGINT])
def test_killed_half_way_and_started_again(server, tmp_path, kind):
  names = [f'slow/a-{i}.jpg' for i in range(40)]
  place = _Place(tmp_path, server, ['gone/b-1.jpg', *names])
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
    assert errors.splitlines()[-1] == 'download: stopped; run again to go on'
  whole = _whole(place)
  assert 8 < len(whole) < 40
  for name in whole:
    assert (place.folder / name).read_bytes() == PICTURE
  before = server.asked.copy()
  result = subprocess.run(
    _command(place, '--per-host', '20'),
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  assert f'{40 - len(whole)} fetched, {len(whole)} were there, 1 dead' in (
    result.stdout
  )
  for name in whole:
    assert server.asked[f'/slow/{name}'] == before[f'/slow/{name}']
  assert set(_whole(place)) == {name.partition('/')[2] for name in names}


@pytest.mark.parametrize('bad', ['missing', 'empty', 'folder', 'limit'])
def test_bad_input_is_one_line_and_code_2(server, tmp_path, bad):
  place = _Place(tmp_path, server, ['good/a-1.jpg'])
  more = []
  if bad == 'missing':
    place.urls.unlink()
  elif bad == 'empty':
    place.urls.write_text('# nothing\n')
  elif bad == 'folder':
    place.folder.write_text('a file')
  else:
    more = ['--rounds', '0']
  result = subprocess.run(
    _command(place, *more),
    capture_output=True, text=True, timeout=120, check=False,
  )  # fmt: skip
  assert result.returncode == 2
  (line,) = result.stderr.splitlines()
  assert line.startswith('download: ')


def test_a_full_disk_ends_the_run(server, tmp_path, monkeypatch):
  place = _Place(tmp_path, server, ['good/a-1.jpg', 'good/a-2.jpg'])

  def full(*_, **__):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr('tempfile.mkstemp', full)
  with pytest.raises(InputError, match=r'cannot write .* No space left'):
    place.download()
