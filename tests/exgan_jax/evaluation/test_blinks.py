"""The benchmark of blinks, on drawn people and on real ones."""

import contextlib
import csv
import json
import re

import cv2
import drawn
import numpy as np
import pytest
from PIL import Image

from exgan_jax import cli
from exgan_jax.errors import InputError
from exgan_jax.evaluation import blinks
from exgan_jax.evaluation import results as results_lib
from exgan_jax.evaluation.blink_frames import read_blinks
from exgan_jax.face_records import landmarks
from exgan_jax.models import lpips
from exgan_jax.report.write import write_report

PEOPLE = 'anna', 'bert'
# Of each person: file, number of the scene, and whether the eyes are closed.
# Frames of one moment are of one scene.
FRAMES = (
  ('closed_0', 0, True),
  ('open_0_before', 0, False),
  ('open_0_after', 3, False),
  ('open_1_before', 1, False),
)
PAIRS = 'person,closed,open,eyes_moved,strict\n' + ''.join(
  f'{person},closed_0.png,open_0_before.png,0.1,1\n'
  f'{person},closed_0.png,open_0_after.png,0.2,1\n'
  f'{person},closed_0.png,open_1_before.png,0.05,0\n'
  for person in PEOPLE
)


@pytest.fixture
def finder(monkeypatch):
  """Stands in for MediaPipe, in the painter and in the comparison."""
  finder = drawn.Finder()
  finder.detect = finder
  finder.close = lambda: None
  monkeypatch.setattr(blinks, 'FaceFinder', lambda _: finder)
  monkeypatch.setattr(
    landmarks, 'FaceLandmarker', lambda _: contextlib.nullcontext(finder)
  )
  return finder


@pytest.fixture
def folder(finder, tmp_path):
  """Two drawn people who blink."""
  folder = tmp_path / 'blinks'
  for i, person in enumerate(PEOPLE):
    (folder / person).mkdir(parents=True)
    for j, (name, scene, is_closed) in enumerate(FRAMES):
      image = finder.draw((200 + i, 220 + j), (i, scene, is_closed))
      Image.fromarray(image).save(folder / person / f'{name}.png')
  (folder / 'pairs.csv').write_text(PAIRS)
  return folder


@pytest.fixture
def weights(tmp_path):
  random, arrays, depth = np.random.default_rng(0), {}, 3
  for i, (shape, *_) in enumerate(lpips.LAYERS):
    arrays[f'AlexNet_0/Conv_{i}/kernel'] = random.normal(
      scale=np.sqrt(2 / (shape[0] ** 2 * depth)), size=shape
    ).astype(np.float32)
    depth = shape[-1]
    arrays[f'AlexNet_0/Conv_{i}/bias'] = np.zeros(depth, np.float32)
    arrays[f'NetLinLayer_{i}/Conv_0/kernel'] = np.ones(
      (1, 1, depth, 1), np.float32
    )
  path = tmp_path / 'weights.npz'
  np.savez(path, **arrays)
  return path


def _strip(finder, path):
  """Aligned by the complex line of least squares through the corners."""
  image = np.asarray(Image.open(path))
  (face,) = finder(image)
  corners = np.array(face.corners) @ [1, 1j]
  to = np.array([95, 165, 235, 305]) + 80j
  (a, b), *_ = np.linalg.lstsq(
    np.stack([corners, np.ones(4)], axis=1), to, rcond=None
  )
  matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
  return cv2.warpAffine(
    image, matrix, (400, 160), flags=cv2.INTER_CUBIC,
    borderMode=cv2.BORDER_REPLICATE,
  ).astype(np.float64)  # fmt: skip


def _run(*arguments):
  assert cli.main([str(argument) for argument in arguments]) == 0


def test_the_nearest_frame_is_the_truth(folder):
  anna, bert = read_blinks(folder)
  at = folder / 'bert'
  assert (anna.person, bert.person) == PEOPLE
  assert bert.closed == at / 'closed_0.png'
  # The frame of another moment is nearer, but not strict.
  assert bert.truth == at / 'open_0_before.png'
  assert bert.other_side == at / 'open_0_after.png'
  assert bert.reference == at / 'open_1_before.png'


@pytest.mark.parametrize(
  'text',
  [
    '',
    'person,closed\na,b\n',
    'person,closed,open\n../a,closed_0.png,open_0.png\n',
    'person,closed,open\na,/etc/passwd,open_0.png\n',
    'person,closed,open\na,closed_0.png\n',
    'person,closed,open,eyes_moved\na,closed_0.png,open_0.png,far\n',
    # Open frames of one moment only.
    'person,closed,open\na,closed_0.png,open_0_a.png\n',
    '\udcff',
  ],
)
def test_lists_that_are_none_are_refused(tmp_path, text):
  (tmp_path / 'pairs.csv').write_text(text, 'utf-8', 'surrogateescape')
  with pytest.raises(InputError, match=r'pairs\.csv'):
    read_blinks(tmp_path)


def test_evaluate_score_and_report(folder, finder, weights, tmp_path, capsys):
  output, pictures = tmp_path / 'results.json', tmp_path / 'pictures'
  _run(
    'evaluate', '--blinks', folder, '--lpips', weights,
    '--output', output, '--pictures', pictures,
  )  # fmt: skip
  found = results_lib.load(output)
  assert 'blinks closed: 2 images' in capsys.readouterr().out
  assert (found.model, found.num_images) == ('transfer', 2)
  assert not found.skipped
  rows = {'model': found.metrics, **found.baselines}
  assert set(rows) == {'model', 'untouched', 'reference_clone', 'other_side'}
  assert set(found.intervals) == set(rows)
  # An eye that is painted is nearer to an open one than a lid is.
  for name in ('l1_strip', 'lpips_strip'):
    assert found.metrics[name] < rows['untouched'][name]
    low, high = found.intervals['model'][name]
    assert low <= found.metrics[name] <= high
  with output.with_suffix('.csv').open() as file:
    table = list(csv.DictReader(file))
  assert [row['filename'] for row in table] == [
    f'{person}/closed_0.png' for person in PEOPLE
  ]
  by_hand = [
    np.abs(
      _strip(finder, folder / person / f'{one}.png')
      - _strip(finder, folder / person / 'open_0_before.png')
    ).mean()
    / 255
    for person in PEOPLE
    for one in ('closed_0', 'open_0_after')
  ]
  assert by_hand == pytest.approx(
    [
      float(row[f'{one}/l1_strip'])
      for row in table
      for one in ('untouched', 'other_side')
    ],
    rel=1e-5,
  )
  for row in table:
    worse = float(row['lpips_strip']) > float(row['untouched/lpips_strip'])
    assert float(row['worse_than_untouched']) == worse
    assert row['done'] == 'painted'
  # What was written scores as what was evaluated.
  score = tmp_path / 'score.json'
  _run(
    'score', folder, pictures / 'result', '--lpips', weights,
    '--method', 'again', '--output', score,
  )  # fmt: skip
  again = results_lib.load(score)
  assert again.metrics == found.metrics
  assert again.intervals == found.intervals['model']
  text = write_report([str(output), str(score)], tmp_path / 'report')
  assert '## blinks, closed, several sizes' in text and '## Folders' not in text
  assert '`again`, score of a folder' in text
  assert f'{found.metrics["lpips_strip"]:.4f}' in text


def test_without_weights_the_reason_is_said(folder, tmp_path):
  output = tmp_path / 'score.json'
  for person in PEOPLE:
    (tmp_path / 'same' / person).mkdir(parents=True)
    Image.open(folder / person / 'closed_0.png').save(
      tmp_path / 'same' / person / 'closed_0.webp', lossless=True
    )
  _run('score', folder, tmp_path / 'same', '--output', output)
  found = json.loads(output.read_text())
  assert found['metrics']['lpips_strip'] is None
  assert 'LPIPS' in found['skipped']['lpips_strip']
  with output.with_suffix('.csv').open() as file:
    for row in csv.DictReader(file):
      assert row['l1_strip'] == row['untouched/l1_strip'] != ''


def test_where_nothing_is_painted_it_counts_as_it_is(folder, finder, tmp_path):
  finder.faces[200, 223] = []  # Anna's reference shows nobody.
  finder.faces[201, 221] = []  # The truth of Bert's blink neither.
  found = blinks.evaluate_blinks(folder, output=tmp_path / 'results.json')
  assert found.num_images == 1 and not found.intervals['model']
  assert found.metrics == found.baselines['untouched']
  text = (tmp_path / 'results.csv').read_text()
  assert 'no reference shows this person with open eyes' in text


@pytest.mark.parametrize(
  ('flags', 'words'),
  [
    (['--blinks', 'B', '--data-dir', 'D'], '--data-dir is not for --blinks'),
    (['--blinks', 'B', '--baselines'], '--baselines is not for --blinks'),
    (['--blinks', 'B', '--num-processes', '2'], 'in one process'),
    (['--blinks', 'B'], r'cannot read B/pairs\.csv'),
    (['--workdir', 'W'], '--data-dir or --blinks is required'),
  ],
)
def test_wrong_flags_are_one_line(flags, words, tmp_path, capsys):
  output = ['--output', str(tmp_path / 'results.json')]
  assert cli.main(['evaluate', *flags, *output]) == 2
  error = capsys.readouterr().err
  assert error.count('\n') == 1
  assert re.search(words, error), error


def test_painted_pictures_must_fit(folder, tmp_path):
  (tmp_path / 'painted').mkdir()
  image = Image.open(folder / 'anna' / 'open_0_before.png')
  for person in PEOPLE[:1]:
    (tmp_path / 'painted' / person).mkdir()
    image.save(tmp_path / 'painted' / person / 'closed_0.png')
  with pytest.raises(InputError, match=r'no partner of .*bert'):
    blinks.score_blinks(folder, tmp_path / 'painted')
  (tmp_path / 'painted' / 'bert').mkdir()
  image.save(tmp_path / 'painted' / 'bert' / 'closed_0.png')
  with pytest.raises(InputError, match='another size'):
    blinks.score_blinks(folder, tmp_path / 'painted')


@pytest.mark.slow
def test_real_blinks(photographs, bundle):
  """Within 2 % of an independent program with MediaPipe and OpenCV alone."""
  file = photographs.parent / 'models' / 'lpips_alexnet.npz'
  if not file.is_file():
    pytest.skip(f'no weights of LPIPS at {file}')
  found = blinks.evaluate_blinks(
    photographs / 'blink_pairs', lpips=file, face_landmarker=bundle
  )
  assert found.num_images == 61
  rows = {'model': found.metrics, **found.baselines}
  expected = {
    'model': 0.1014, 'untouched': 0.15296, 'reference_clone': 0.10235,
    'other_side': 0.08758,
  }  # fmt: skip
  assert {name: row['lpips_strip'] for name, row in rows.items()} == (
    pytest.approx(expected, rel=0.02)
  )
