"""The page of a blind choice in a browser, and its answers in the report."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from exgan_jax import cli
from exgan_jax.errors import InputError
from exgan_jax.report import blind
from exgan_jax.report.write import write_report

TRUE, PAINTED, PERSON = (10, 200, 10), (200, 10, 10), (10, 10, 200)
KINDS = {'original': TRUE, 'result': PAINTED, 'reference': PERSON}
ANSWERS = {
  'method': 'ours',
  'choices': {
    'painted_found': [6, 4, 0],
    'painted_real': [3, 4, 1],
    'true_real': [8, 0, 0],
    'painted_same': [0, 0, 0],
    'true_same': [5, 0, 5],
  },
}


@pytest.fixture
def folder(tmp_path):
  for kind, color in KINDS.items():
    for i in range(10):
      path = tmp_path / 'ours' / kind / f'person {i % 3}' / f'{i}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.new('RGB', (70, 40), color).save(path)
  return tmp_path / 'ours'


@pytest.fixture(scope='module')
def browser():
  chromium = shutil.which('chromium')
  if not chromium:
    pytest.skip('no chromium here')
  sync_api = pytest.importorskip('playwright.sync_api')
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(
      executable_path=chromium, args=['--no-sandbox', '--disable-gpu']
    )
    yield browser
    browser.close()


COLORS = """() => Promise.all([...document.querySelectorAll('img')].map(
  async image => {
    await image.decode();
    const canvas = document.createElement('canvas').getContext('2d');
    canvas.drawImage(image, 0, 0);
    return [...canvas.getImageData(9, 9, 1, 1).data.slice(0, 3)];
  }))"""


def _answer(tab, expected):
  """Answers a question by the colors, and counts it as the page should.

  Of two pictures the painted one is found but for once; a single one is told
  if it is painted, and nobody can tell of a true one.
  """
  seen = [tuple(color) for color in tab.evaluate(COLORS)]
  buttons = tab.query_selector_all('main button')
  words = [button.inner_text() for button in buttons]
  if words == ['This one'] * 2:
    assert sorted(seen) == [TRUE, PAINTED]
    is_wrong = not any(expected['painted_found'])
    buttons[seen.index(TRUE if is_wrong else PAINTED)].click()
    expected['painted_found'][int(is_wrong)] += 1
    return
  kind = 'painted' if seen[-1] == PAINTED else 'true'
  if words == ['Real', 'Painted', 'Cannot tell']:
    assert len(seen) == 1
    tally = expected[f'{kind}_real']
  else:
    assert words == ['Yes', 'No', 'Cannot tell'] and seen[0] == PERSON
    tally = expected[f'{kind}_same']
  choice = 1 if kind == 'painted' else 2
  buttons[choice].click()
  tally[choice] += 1


@pytest.mark.slow
def test_ten_choices_are_counted_and_saved(browser, folder, tmp_path):
  assert cli.main(
    ['report', '--blind', str(folder), '--output', str(tmp_path / 'report')]
  ) == 0  # fmt: skip
  # Two pixels of the screen on one of the style sheet, as on a phone.
  tab = browser.new_page(device_scale_factor=2)
  errors, requests = [], []
  tab.on('console', lambda message: errors.append(message.text))
  tab.on('pageerror', lambda error: errors.append(str(error)))
  tab.on('request', lambda request: requests.append(request.url))
  address = (tmp_path / 'report' / 'blind.html').as_uri()
  tab.goto(address)
  assert tab.is_disabled('#save')
  expected = {name: [0, 0, 0] for name in blind.QUESTIONS}
  for number in range(10):
    assert f'{number} of 10' in tab.inner_text('#progress')
    _answer(tab, expected)
    if number == 0:
      size = tab.eval_on_selector('img', 'image => image.offsetWidth')
      assert size == 35
  assert 'Thank you' in tab.inner_text('#question')
  assert not tab.query_selector_all('main button')
  with tab.expect_download() as download:
    tab.click('#save')
  assert re.fullmatch(r'blind-\d+\.json', download.value.suggested_filename)
  path = tmp_path / 'answers.json'
  download.value.save_as(path)
  assert json.loads(path.read_text()) == {
    'method': 'ours',
    'choices': expected,
  }
  assert sum(map(sum, expected.values())) == 10
  # Of ten scenes in turn: pairs, single ones, and ones beside the person.
  assert expected['painted_found'] == [3, 1, 0]
  assert sum(expected['painted_real'] + expected['true_real']) == 3
  assert not errors
  assert not [url for url in requests if not url.startswith(('data:', address))]
  assert '1 file(s), 10 choices' in write_report([str(path)], tmp_path)


def test_answers_become_shares_with_wilson_intervals(tmp_path):
  paths = []
  for name, method in (('a', 'ours'), ('b', 'ours'), ('c', 'other')):
    paths.append(str(tmp_path / f'{name}.json'))
    fields = ANSWERS | {'method': method}
    (tmp_path / f'{name}.json').write_text(json.dumps(fields))
  text = write_report(paths, tmp_path / 'report')
  (ours,) = [line for line in text.splitlines() if line.startswith('| `ours`')]
  (other,) = [line for line in text.splitlines() if '`other`' in line]
  assert '2 file(s), 72 choices' in ours and '1 file(s), 36' in other
  # No one was asked whether painted people are the same: there is no column.
  cells = [cell.strip() for cell in other.strip('|').split(' | ')[2:]]
  # (6 + z²/2 ± z √(6 · 4 / 10 + z²/4)) / (10 + z²), and 8 / (8 + z²).
  assert cells[0] == '0.600 [0.313, 0.832]'
  assert cells[1].startswith('0.500')  # Real, and not told.
  assert cells[2] == '1.000 [0.68, 1.00]' and cells[3].startswith('0.500')
  assert len(cells) == 4
  page = (tmp_path / 'report' / 'report.html').read_text()
  assert 'Told from real?' in page


@pytest.mark.parametrize('count', [1, 7, 40])
def test_an_interval_holds_the_shares_that_are_not_refused(count):
  # The ends of Wilson's interval are the roots of the score test.
  for chosen in range(count + 1):
    low, high = blind.wilson(chosen, count)
    assert 0 <= low <= chosen / count <= high <= 1
    for p in (low, high):
      if 0 < p < 1:
        score = (chosen / count - p) / np.sqrt(p * (1 - p) / count)
        assert abs(score) == pytest.approx(1.959964)


@pytest.mark.parametrize(
  'change',
  [
    {'method': 3},
    {'method': ''},
    {'method': 'a\nb'},
    {'method': 'a' * 101},
    {'more': 1},
    {'choices': []},
    {'choices': {}},
    {'choices': ANSWERS['choices'] | {'more': [0, 0, 0]}},
    *(
      {'choices': ANSWERS['choices'] | {'true_real': value}}
      for value in (
        3, [1, 2], [1, 2, -1], [1, 2, 2**31], [1, 2, 0.5], [1, 2, True],
        [1, 2, None], {'0': 1},
      )
    ),
  ],
)  # fmt: skip
def test_other_answers_are_refused_in_one_line(tmp_path, change, capsys):
  path = tmp_path / 'answers.json'
  path.write_text(json.dumps(ANSWERS | change))
  assert cli.main(['report', str(path), '--output', str(tmp_path / 'r')]) == 2
  assert capsys.readouterr().err == (
    f'exgan: {path} holds no answers of a blind choice\n'
  )


def test_a_name_from_a_file_is_only_text(tmp_path):
  path = tmp_path / 'answers.json'
  path.write_text(json.dumps(ANSWERS | {'method': '<script>alert(1)</script>'}))
  write_report([str(path)], tmp_path)
  assert '<script' not in (tmp_path / 'report.html').read_text()


def test_a_page_shows_at_most_thirty_scenes(tmp_path):
  folder = tmp_path / '<script><b>'
  for kind in ('original', 'result'):
    (folder / kind).mkdir(parents=True)
    for i in range(31):
      Image.new('RGB', (32, 32)).save(folder / kind / f'{i}.png')
  text = blind.write_page(folder, tmp_path).read_text()
  assert text.count('data:image/webp') == 2 * blind.MOST
  assert '<script><b>' not in text and text.count('<script') == 1


@pytest.mark.parametrize(
  ('name', 'data', 'words'),
  [
    ('original', None, 'holds no PNG files'),
    ('result', None, 'No such file|broken'),
    ('result', b'no picture', 'not a picture'),
  ],
)
def test_folders_without_pictures_are_refused(folder, name, data, words):
  for path in (folder / name).rglob('*.png'):
    path.unlink() if data is None else path.write_bytes(data)
  with pytest.raises(InputError, match=words):
    blind.write_page(folder, folder.parent)


def test_nothing_to_report_is_refused(tmp_path, capsys):
  assert cli.main(['report', '--output', str(tmp_path)]) == 2
  assert '--blind' in capsys.readouterr().err
