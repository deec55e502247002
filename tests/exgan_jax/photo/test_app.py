"""The page: what it answers, and how it looks to a real browser."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import drawn
import numpy as np
import pytest
from PIL import Image

from exgan_jax.errors import InputError
from exgan_jax.photo.app import forget
from exgan_jax.photo.inpainter import Inpainter
from exgan_jax.photo.page import EXAMPLE, MOST_REFERENCES, Page

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which('chromium')


@pytest.fixture(scope='module')
def painter():
  return drawn.painter()


@pytest.fixture
def page(painter, tmp_path):
  finder = drawn.Finder()
  photo, reference = tmp_path / 'photo.png', tmp_path / 'reference.png'
  people = ((5, 0, True), (8, 0, False))
  Image.fromarray(finder.draw((200, 400), *people)).save(photo)
  Image.fromarray(finder.draw((201, 221), (5, 1, False))).save(reference)
  (tmp_path / 'results').mkdir()
  page = Page(Inpainter(painter, finder), tmp_path / 'results')
  page.photo, page.references = str(photo), [str(reference)]
  return page


def test_paints_what_the_command_would(page, painter, tmp_path):
  ((before, after, path, told),) = page.paint(page.photo, page.references)
  assert before.shape == after.shape and (before != after).any()
  np.testing.assert_array_equal(np.asarray(Image.open(path)), after)
  assert pathlib.Path(path).name == 'photo-open.png'
  assert tmp_path / 'results' in pathlib.Path(path).parents
  assert 'Face 1: painted both eyes from reference.png' in told
  assert 'Face 2: the eyes look open' in told


def test_shows_the_faces_with_their_numbers(page):
  shown, count = page.look(page.photo)
  assert count == 2 and shown.shape == (200, 400, 3)
  assert (shown != np.asarray(Image.open(page.photo))).any()


def test_which_face_is_as_in_the_command(page):
  told = page.paint(page.photo, page.references, 'face 2', True)[0].told
  assert 'Face 1: not asked for' in told and 'Face 2: painted' in told
  with pytest.raises(InputError, match='look open'):
    page.paint(page.photo, page.references, 'face 2')


@pytest.mark.parametrize(
  ('photo', 'references', 'message'),
  [
    (None, None, 'photograph is missing'),
    ('photo', [], 'open eyes is missing'),
    ('text', None, r'^text\.png: not a picture$'),
    ('photo', ['text'], r'^text\.png: not a picture$'),
    ('photo', ['reference'] * (MOST_REFERENCES + 1), 'at most 20'),
  ],
)
def test_bad_input_is_one_line(page, tmp_path, photo, references, message):
  (tmp_path / 'text.png').write_text('not a picture')
  named = lambda name: str(tmp_path / f'{name}.png')  # noqa: E731
  with pytest.raises(InputError, match=message):
    page.paint(
      photo and named(photo),
      page.references if references is None else list(map(named, references)),
    )
  assert not list((tmp_path / 'results').rglob('*.png'))


def test_old_files_are_forgotten(tmp_path):
  (tmp_path / 'a').mkdir()
  old, new = tmp_path / 'a' / 'old.png', tmp_path / 'new.png'
  for path in (old, new):
    path.write_bytes(b'-')
  os.utime(old, (0, 0))
  forget(tmp_path, 600)
  assert new.exists() and not old.exists()


@contextlib.contextmanager
def _served(bundle, folder):
  """The real command, and its address; ends it as a user would."""
  temporary, log = folder / 'temporary', folder / 'log'
  temporary.mkdir()
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  code = 'from exgan_jax.cli import run; run()'
  with log.open('w') as stderr:
    process = subprocess.Popen(
      [
        sys.executable, '-c', code, 'app', '--port', str(port),
        '--face-landmarker', str(bundle), '--max-megabytes', '1',
      ],
      env={**os.environ, 'TMPDIR': str(temporary)}, stderr=stderr,
    )  # fmt: skip
  address, deadline = f'http://127.0.0.1:{port}', time.monotonic() + 120
  try:
    while f'{address} ' not in log.read_text():
      assert process.poll() is None, log.read_text()
      assert time.monotonic() < deadline, log.read_text()
      time.sleep(0.05)
    yield address, port
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0, log.read_text()
  finally:
    process.kill()  # Does nothing if it has ended.
  # Nothing but the address: no notices, and no traceback at the end.
  (line,) = log.read_text().splitlines()
  assert line.startswith(f'exgan: {address} ')
  # Nothing of the user's is left.
  assert not list(temporary.iterdir())


@pytest.fixture(scope='module')
def served(bundle, tmp_path_factory):
  pytest.importorskip('gradio', reason='no Gradio here')
  with _served(bundle, tmp_path_factory.mktemp('served')) as found:
    yield found


@pytest.fixture(scope='module')
def browser():
  if not CHROMIUM:
    pytest.skip('no chromium here')
  sync_api = pytest.importorskip('playwright.sync_api')
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(
      executable_path=CHROMIUM, args=['--no-sandbox', '--disable-gpu']
    )
    yield browser
    browser.close()


def _open(browser, served, width=1366, height=768):
  tab = browser.new_page(viewport={'width': width, 'height': height})
  tab.set_default_timeout(60_000)
  tab.goto(served[0])
  tab.wait_for_selector('#press')
  return tab


def _upload(tab, photo, *references):
  tab.set_input_files('#photo input[type=file]', photo)
  tab.wait_for_selector('#seen img')
  tab.set_input_files('#references input[type=file]', references)
  tab.wait_for_selector('#references .file-preview')


def test_from_upload_to_download(browser, served, bundle, tmp_path):
  photo, reference = (
    str(EXAMPLE / f'{name}.jpg') for name in ('blinked', 'open')
  )
  outside = []
  tab = _open(browser, served)
  tab.on('request', lambda request: outside.append(request.url))
  _upload(tab, photo, reference)
  tab.click('#press')
  tab.wait_for_selector('#result img')
  tab.wait_for_selector('#told li')
  assert 'both eyes from open.jpg' in tab.inner_text('#told')
  with tab.expect_download() as download:
    tab.click('#download')
  assert download.value.suggested_filename == 'blinked-open.jpg'
  from exgan_jax.cli import main

  output = tmp_path / 'command.jpg'
  assert main([
    'inpaint', photo, '--reference', reference, '--output', str(output),
    '--face-landmarker', str(bundle),
  ]) == 0  # fmt: skip
  assert download.value.path().read_bytes() == output.read_bytes()
  assert not [url for url in outside if '127.0.0.1' not in url]


def test_the_second_of_three_is_chosen(browser, served, bundle, tmp_path):
  photo = EXAMPLE / 'blinked.jpg'
  references = []
  with Image.open(EXAMPLE / 'open.jpg') as image:
    for number, light in enumerate((1.0, 0.85, 0.7)):
      references.append(str(tmp_path / f'open{number}.jpg'))
      image.point(lambda level, light=light: level * light).save(references[-1])
  tab = _open(browser, served)
  _upload(tab, str(photo), *references)
  tab.click('#press')
  tab.wait_for_selector('#choice img')
  assert tab.locator('#choice .grid-container img').count() == 3
  first = tab.inner_text('#told')
  tab.locator('#choice .grid-container button').nth(1).click()
  tab.wait_for_selector('#told >> text=open1.jpg')
  assert 'open0.jpg' in first
  with tab.expect_download() as download:
    tab.click('#download')
  from exgan_jax.cli import main

  output = tmp_path / 'command.jpg'
  assert main([
    'inpaint', str(photo), '--reference', *references, '--candidates', '3',
    '--output', str(output), '--face-landmarker', str(bundle),
  ]) == 0  # fmt: skip
  written = [output, *(tmp_path / f'command-{n}.jpg' for n in (2, 3))]
  ours = download.value.path().read_bytes()
  assert [path.read_bytes() == ours for path in written] == [False, True, False]


def test_wrong_files_are_told_of(browser, served, tmp_path):
  text, large = tmp_path / 'text.png', tmp_path / 'large.png'
  text.write_text('not a picture')
  large.write_bytes(bytes(1_200_000))
  tab = _open(browser, served)
  tab.click('#press')
  tab.wait_for_selector('text=the photograph is missing')
  tab.set_input_files('#photo input[type=file]', text)
  tab.wait_for_selector('text=text.png: not a picture')
  again = _open(browser, served)
  again.set_input_files('#photo input[type=file]', large)
  again.wait_for_selector('text=/exceed|too large/i')


def test_ten_clicks_in_two_tabs(browser, served, tmp_path):
  photo, reference = (
    str(EXAMPLE / f'{name}.jpg') for name in ('blinked', 'open')
  )
  tabs = [_open(browser, served) for _ in range(2)]
  for tab in tabs:
    _upload(tab, photo, reference)
  for _ in range(5):
    for tab in tabs:
      tab.click('#press')
  for tab in tabs:
    tab.wait_for_selector('#told li')
    assert re.search('both eyes from', tab.inner_text('#told'))
    assert not tab.query_selector('.toast-body.error')


@pytest.mark.parametrize('width', [360, 1366])
def test_fits_its_window(browser, served, width):
  tab = _open(browser, served, width, 800)
  tab.click('#example')
  tab.wait_for_selector('#told li')
  assert tab.evaluate('document.documentElement.scrollWidth') <= width


def test_is_only_served_to_this_machine(served):
  host = socket.gethostbyname(socket.gethostname())
  if host.startswith('127.'):
    pytest.skip('this machine has no other address')
  with pytest.raises(OSError):
    socket.create_connection((host, served[1]), timeout=2)


def _status(served, path='/', body=None, **headers):
  headers = {'Host': f'127.0.0.1:{served[1]}'} | headers
  request = urllib.request.Request(served[0] + path, body, headers)
  try:
    with urllib.request.urlopen(request, timeout=30) as answer:
      return answer.status
  except urllib.error.HTTPError as error:
    return error.code


def test_only_the_page_is_answered(served, tmp_path):
  assert _status(served) == 200
  assert _status(served, Host='evil.example') == 403
  assert _status(served, Origin='http://evil.example') == 403
  assert _status(served, '/gradio_api/run/look', b'{}' * 2**20) == 413
  kind = {'Content-Type': 'multipart/form-data; boundary=x'}
  part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"'
  part += b'\r\n\r\n' + bytes(900_000) + b'\r\n'
  path = '/gradio_api/upload'
  assert _status(served, path, part + b'--x--', **kind) == 200
  assert _status(served, path, part * 5 + b'--x--', **kind) == 413
  foreign = kind | {'Origin': 'http://evil.example'}
  assert _status(served, path, part + b'--x--', **foreign) == 403


def test_nothing_outside_is_read(served, tmp_path):
  (tmp_path / 'secret.txt').write_text('secret')
  for path in (tmp_path / 'secret.txt', '/etc/passwd', '../../etc/passwd'):
    assert _status(served, f'/gradio_api/file={path}') in (403, 404)


@pytest.mark.parametrize('number', ['inf', 'nan', '0', '-1', '2000'])
def test_a_senseless_limit_is_one_line(capsys, bundle, number):
  from exgan_jax.cli import main

  argv = ['app', '--face-landmarker', str(bundle), '--max-megabytes', number]
  assert main(argv) == 2
  (line,) = capsys.readouterr().err.strip().splitlines()
  assert '--max-megabytes' in line


def test_a_port_that_is_taken_is_one_line(capsys, bundle, served):
  from exgan_jax.cli import main

  argv = ['app', '--face-landmarker', str(bundle), '--port']
  assert main([*argv, '0']) == 2
  assert main([*argv, str(served[1])]) == 2
  lines = capsys.readouterr().err.strip().splitlines()
  assert len(lines) == 2 and 'cannot serve' in lines[1]
