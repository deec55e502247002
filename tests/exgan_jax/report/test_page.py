"""The HTML page: its content, and whether it fits a phone and a laptop."""

import dataclasses
import html
import html.parser
import itertools
import re
import shutil
import subprocess

import numpy as np
import pytest

from exgan_jax.evaluation.gallery import Gallery
from exgan_jax.evaluation.results import Results, Score
from exgan_jax.report import columns as columns_lib
from exgan_jax.report.write import write_report

MODELS = ('gan', 'reference', 'code', 'transfer')
VOID = {'meta', 'link', 'img', 'br'}
METRICS = {
  column.metric: 0.0123
  for _, _, columns in columns_lib.THEMES
  for column in columns
}
RESULTS = Results(
  *('gan', 0, 'synth_id', 'test', 16, 2220, 'next-image', METRICS),
  skipped={'fid': 'needs the Inception weights (--inception)'},
  baselines={'telea': METRICS, 'reference_clone': METRICS},
  provenance={'weights_sha256': '', 'versions': {'jax': '0.10.2'}},
)
SCORE = Score('somebody else', 2220, 16, METRICS, {}, {})


class _Page(html.parser.HTMLParser):
  """Checks that tags are closed, and keeps what is in them."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.links, self.text, self._open = [], [], [], []
    self.feed(text)
    self.close()
    assert not self._open

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    self.links += [v for k, v in attrs if k.rpartition(':')[2] in LINKING]
    if tag not in VOID:
      self._open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.handle_starttag(tag, attrs)
    self.handle_endtag(tag)

  def handle_endtag(self, tag):
    assert self._open.pop() == tag

  def handle_data(self, data):
    self.text.append(data)

  def all(self, name):
    return [attributes for tag, attributes in self.tags if tag == name]


LINKING = {'src', 'href', 'srcset', 'action', 'data', 'poster'}


def _gallery():
  pictures = np.full((4, 16, 16, 3), 90, np.uint8)
  kinds = 'reference', 'input', 'original', 'result', 'reference_clone'
  eyes = np.tile(np.asarray([[5, 8], [11, 8]], np.float32), (4, 1, 1))
  return Gallery(
    list('abcd'),
    dict.fromkeys(kinds, pictures),
    {'eyes': eyes, 'reference_eyes': eyes},
  )


@pytest.fixture(scope='module')
def page(tmp_path_factory):
  """A report with everything: models at two steps, pictures, a folder."""
  folder = tmp_path_factory.mktemp('results')
  SCORE.save(folder / 'score.json')
  paths = [str(folder / 'score.json')]
  for model in MODELS:
    for step in (1000, 123_456):
      made = {'config_sha256': model, 'weights_sha256': f'{model}{step}' * 5}
      path = folder / f'{model}-{step}.json'
      interval = {name: [0.0111, 0.0135] for name in METRICS}
      dataclasses.replace(
        RESULTS,
        model=model,
        step=step,
        provenance=RESULTS.provenance | made,
        intervals={'model': interval, 'telea': interval},
      ).save(path)
      paths.append(str(path))
    _gallery().save(path.with_suffix('.npz'))
  write_report(paths, folder / 'report')
  return folder / 'report' / 'report.html'


def test_the_page_has_everything_and_needs_no_other_file(page):
  text = page.read_text(encoding='utf-8')
  found = _Page(text)
  links = {link for link in found.links if not link.startswith(('data:', '#'))}
  assert links == {columns_lib.PAPER_URL}
  assert not found.all('script')
  assert 'url(http' not in text and '@import' not in text
  # Four scenes of the original and four models, and of Figure 2's four columns.
  images = found.all('img')
  assert len(images) == 4 * 5 + 4 * 4
  assert all(image['alt'] for image in images)
  assert images[4]['alt'].startswith('transfer, scene 1')
  swapped = [name for name in METRICS if name.endswith('_swapped')]
  assert text.count('<svg xmlns') == len(METRICS) - len(swapped)
  assert len(found.all('table')) == len(columns_lib.THEMES)
  headers = found.all('th')
  assert headers and all(header['scope'] for header in headers)
  words = ' '.join(''.join(found.text).split())
  for part in (
    *('the paper, on another data set (Celeb-ID)', 'versions jax'),
    *('fid: needs the Inception weights (--inception)', 'somebody else'),
    *('123,456 steps', 'the result of another method (reference_clone)'),
  ):
    assert part in words
  # The older step is only in the plots.
  assert '1,000 steps' not in words
  for name in ('figure1.png', 'figure2.png'):
    assert (page.parent / name).exists()
    assert f'({name})' in (page.parent / 'report.md').read_text()


def test_headings_are_in_order_and_ids_unique(page):
  found = _Page(page.read_text(encoding='utf-8'))
  assert found.all('html') == [{'lang': 'en'}]
  levels = [int(tag[1]) for tag, _ in found.tags if re.match(r'h\d$', tag)]
  assert levels[0] == 1 and levels.count(1) == 1
  assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
  ids = [attributes['id'] for _, attributes in found.tags if 'id' in attributes]
  assert len(set(ids)) == len(ids)


def test_the_best_of_a_column_is_marked(tmp_path):
  paths = []
  for index, (model, l1) in enumerate((('gan', 0.01), ('code', 0.009))):
    paths.append(str(tmp_path / f'{index}.json'))
    metrics = {'l1': l1, 'inception_score': 3.0 - index}
    one = dataclasses.replace(RESULTS, model=model, metrics=metrics)
    dataclasses.replace(one, baselines={}).save(paths[-1])
  write_report(paths, tmp_path)
  text = (tmp_path / 'report.html').read_text(encoding='utf-8')
  best = re.findall(r'class="best"><span class="value">([\d.]+)', text)
  # Of the L1 the smallest, of the score the largest, the paper's apart.
  assert best == ['3.00', '0.00900']


def test_what_results_say_is_escaped(tmp_path):
  name = '<script>alert(1)</script>"\'&'
  one = dataclasses.replace(
    RESULTS,
    model=name,
    dataset=name,
    split=name,
    skipped={name: name},
    baselines={name: METRICS},
    provenance={name: name},
  )
  paths = [str(tmp_path / f'{step}.json') for step in (1, 2)]
  for step, path in enumerate(paths):
    dataclasses.replace(one, step=step).save(path)
    _gallery().save(tmp_path / f'{step + 1}.npz')
  dataclasses.replace(SCORE, method=name).save(tmp_path / 'score.json')
  write_report([*paths, str(tmp_path / 'score.json')], tmp_path / 'report')
  text = (tmp_path / 'report' / 'report.html').read_text(encoding='utf-8')
  found = _Page(text)
  assert '<script' not in text and not found.all('script')
  assert name in ''.join(found.text)


def test_a_page_without_pictures_and_steps_says_so(tmp_path):
  RESULTS.save(tmp_path / 'results.json')
  write_report([str(tmp_path / 'results.json')], tmp_path)
  text = (tmp_path / 'report.html').read_text(encoding='utf-8')
  found = _Page(text)
  assert 'No images' in text
  assert not found.all('img') and 'Over training' not in text


@pytest.mark.skipif(not shutil.which('chromium'), reason='no chromium here')
@pytest.mark.parametrize('width', [360, 720, 970, 1280])
def test_a_browser_needs_no_horizontal_scrolling(page, tmp_path, width):
  # No window is narrower than 500 pixels, but a frame may be.
  text = page.read_text(encoding='utf-8').replace('<details', '<details open')
  assert '<details open' in text
  wrapper = tmp_path / 'wrapper.html'
  wrapper.write_text(
    '<!doctype html><meta charset="utf-8"><title>-</title>'
    f'<iframe style="width: {width}px; height: 800px; border: 0"'
    f' srcdoc="{html.escape(text)}"></iframe><script>onload = () => {{'
    ' const page = document.querySelector("iframe").contentDocument;'
    ' const root = page.documentElement;'
    ' document.title = [root.clientWidth, root.scrollWidth,'
    ' page.querySelectorAll("table").length] }</script>',
    encoding='utf-8',
  )
  shown = subprocess.run(
    [
      *('chromium', '--headless', '--no-sandbox', '--disable-gpu'),
      *('--hide-scrollbars', '--disable-dev-shm-usage', '--dump-dom'),
      *(f'--user-data-dir={tmp_path / "profile"}', wrapper.as_uri()),
    ],
    capture_output=True,
    text=True,
    timeout=120,
    check=True,
  )
  (title,) = re.findall(r'<title>([\d,]+)</title>', shown.stdout)
  inside, needed, tables = map(int, title.split(','))
  assert inside == width and tables == len(columns_lib.THEMES)
  assert needed <= width
