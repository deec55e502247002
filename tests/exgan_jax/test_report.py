"""Results to disk and back, and many of them to one table."""

import dataclasses
import json

import pytest

from exgan_jax import results as results_lib
from exgan_jax.report import report, write_report
from exgan_jax.results import Results
from tfds_celeb_id import InputError

GAN = Results(
  model='gan', step=1500, dataset='synth_id', split='test', resolution=64,
  num_images=9, protocol='next-image',
  metrics={
    'l1': 0.01, 'l1_hole': 0.04, 'ms_ssim': 0.02, 'ms_ssim_variant': 'standard',
    'l1_hole_swapped_ratio': 1.0, 'iris_delta_e': None, 'fid': None,
  },
  skipped={'fid': 'why'},
  baselines={'telea': {'l1': 0.02, 'l1_hole': 0.08, 'ms_ssim': 0.1}},
  provenance={},
)  # fmt: skip


def _like(model, **metrics):
  return dataclasses.replace(
    GAN, model=model, metrics=GAN.metrics | metrics, baselines={}
  )


def _row(text, name):
  (line,) = [
    line for line in text.splitlines() if line.startswith(f'| `{name}')
  ]
  return [cell.strip() for cell in line.strip('|').split('|')]


def test_seeds_share_a_row_with_mean_and_spread():
  found = [GAN, _like('code', l1_hole=0.03), _like('code', l1_hole=0.034)]
  text = report(found)
  assert '## synth_id, test, 64 px' in text
  assert '9 pictures, protocol next-image' in text
  model, runs, l1, l1_hole, *_ = _row(text, 'code')
  assert (model, runs) == ('`code`, 1,500 steps', '2')
  assert l1 == '0.01000 ± 0.00000 (+0.0 %)'
  # The sample standard deviation of 0.030 and 0.034; 0.032 against 0.040.
  assert l1_hole == '0.03200 ± 0.00283 (-20.0 %)'
  assert _row(text, 'gan')[3] == '0.04000'
  assert _row(text, 'telea')[3] == '0.08000 (+100.0 %)'


def test_a_column_that_nobody_has_is_left_out():
  assert 'iris' not in report([GAN])
  text = report([GAN, _like('reference', iris_delta_e=5.0)])
  assert 'iris CIEDE2000' in text
  assert _row(text, 'gan')[-1] == '-'
  assert _row(text, 'reference')[-1] == '5.00'


def test_other_data_have_a_table_of_their_own(tmp_path):
  other = dataclasses.replace(GAN, dataset='photo_id')
  paths = []
  for index, one in enumerate((GAN, other)):
    paths.append(str(tmp_path / f'{index}.json'))
    one.save(paths[-1])
  text = write_report(paths, tmp_path / 'new' / 'folder')
  assert text.count('## ') == 2
  assert (tmp_path / 'new' / 'folder' / 'report.md').read_text() == text


def test_results_come_back_as_they_were_saved(tmp_path):
  GAN.save(tmp_path / 'results.json')
  assert results_lib.load(tmp_path / 'results.json') == GAN


@pytest.mark.parametrize(
  'text',
  [
    '',
    '[]',
    '{}',
    '[' * 100_000,
    json.dumps(dataclasses.asdict(GAN) | {'step': 'many'}),
    json.dumps(dataclasses.asdict(GAN) | {'metrics': {'l1': [1]}}),
    json.dumps(dataclasses.asdict(GAN) | {'baselines': {'telea': 3}}),
    json.dumps(dataclasses.asdict(GAN) | {'more': 1}),
  ],
)
def test_hostile_results_are_one_clear_line(tmp_path, text):
  path = tmp_path / 'results.json'
  path.write_text(text)
  with pytest.raises(InputError, match=r'results\.json') as caught:
    results_lib.load(path)
  assert '\n' not in str(caught.value)


def test_missing_results_are_one_clear_line(tmp_path):
  with pytest.raises(InputError, match='cannot read'):
    results_lib.load(tmp_path / 'none.json')


def test_fid_has_a_column_where_there_is_one():
  assert 'FID' not in report([GAN])
  text = report([GAN, _like('code', fid=12.345, inception_score=3.456)])
  (titles,) = [line for line in text.splitlines() if '1 - MS-SSIM' in line]
  at = [cell.strip() for cell in titles.strip('|').split('|')].index('FID')
  assert _row(text, 'code')[at : at + 2] == ['12.35', '3.46']
  assert _row(text, 'gan')[at : at + 2] == ['-', '-']
