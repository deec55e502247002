"""Results files, and the Markdown report of many of them."""

import dataclasses
import json
import re

import pytest

from exgan_jax.errors import InputError
from exgan_jax.evaluation import results as results_lib
from exgan_jax.evaluation.results import Results, Score
from exgan_jax.report import markdown
from exgan_jax.report.sections import Run, sections
from exgan_jax.report.write import write_report

GAN = Results(
  model='gan',
  step=1500,
  dataset='synth_id',
  split='test',
  resolution=64,
  num_images=9,
  protocol='next-image',
  metrics={
    'l1': 0.01,
    'l1_hole': 0.04,
    'ms_ssim': 0.02,
    'ms_ssim_variant': 'standard',
    'l1_hole_swapped_ratio': 1.0,
    'iris_delta_e': None,
    'fid': None,
  },
  skipped={'fid': 'why'},
  baselines={'telea': {'l1': 0.02, 'l1_hole': 0.08, 'ms_ssim': 0.1}},
  provenance={},
)
SCORE = Score(
  method='another',
  num_images=9,
  resolution=64,
  metrics={'l1': 0.015, 'ms_ssim_variant': 'standard', 'l1_hole': 0.06},
  skipped={'fid': 'why', 'inception_score': 'why'},
  provenance={},
  intervals={'l1': [0.014, 0.016]},
)
WHOLE = "Whole images: the paper's table"
HOLE = 'Fidelity: are these the eyes that were hidden?'


def report(found):
  """Returns the Markdown of results without images."""
  runs = [Run(one) for one in found if isinstance(one, Results)]
  scores = [one for one in found if isinstance(one, Score)]
  made = sections(runs, scores)
  return markdown.render(made, [[] for _ in made])


def _like(model, **metrics):
  return dataclasses.replace(
    GAN, model=model, metrics=GAN.metrics | metrics, baselines={}
  )


def _table(text, title):
  """Returns the rows of a table by their first cell, as dictionaries."""
  _, _, rest = text.partition(f'### {title}\n')
  rows = [
    [cell.strip() for cell in line.strip('|').split(' | ')]
    for line in rest.partition('\n#')[0].splitlines()
    if line.startswith('| ')
  ]
  titles = [re.sub(r' (↓|↑|→ .*)$', '', title) for title in rows[0][1:]]
  return {row[0]: dict(zip(titles, row[1:], strict=True)) for row in rows[1:]}


def _row(text, name, title=HOLE):
  ((_, row),) = [
    (key, row)
    for key, row in _table(text, title).items()
    if key.startswith(f'`{name}`') and ', the paper' not in key
  ]
  return row


def test_seeds_share_a_row_with_mean_and_spread():
  found = [GAN, _like('code', l1_hole=0.03), _like('code', l1_hole=0.034)]
  text = report(found)
  assert '## synth_id, test, 64 px' in text
  assert '9 images, protocol next-image' in text
  assert '`code`, 1,500 steps' in _table(text, HOLE)
  row = _row(text, 'code', WHOLE)
  assert row['runs'] == '2'
  assert row['L1'] == '0.01000 ± 0.00000 (+0.0 %)'
  # The sample standard deviation of 0.030 and 0.034; 0.032 against 0.040.
  row = _row(text, 'code')
  assert row['L1 of the hole'] == '0.03200 ± 0.00283 (-20.0 %)'
  assert _row(text, 'gan')['L1 of the hole'] == '0.04000'
  assert _row(text, 'telea')['L1 of the hole'] == '0.08000 (+100.0 %)'


def test_of_one_run_the_interval_is_shown_where_it_is_known():
  intervals = {'model': {'l1_hole': [0.0321, 0.0361]}, 'telea': {'l1': [0, 1]}}
  one = dataclasses.replace(GAN, intervals=intervals)
  text = report([one])
  assert _row(text, 'gan')['L1 of the hole'] == '0.04000 [0.0321, 0.0361]'
  assert _row(text, 'telea', WHOLE)['L1'] == ('0.02000 [0.00, 1.00] (+100.0 %)')
  # Of two runs the spread says more.
  text = report([one, dataclasses.replace(one)])
  assert _row(text, 'gan')['L1 of the hole'] == '0.04000 ± 0.00000'


def _step(step, config='c', weights=None, **metrics):
  provenance = {'config_sha256': config, 'weights_sha256': weights}
  return dataclasses.replace(
    _like('code', **metrics), step=step, provenance=provenance
  )


def test_only_the_newest_step_of_a_run_has_a_row():
  steps = [_step(1000), _step(2000), _step(500)]
  rows = _table(report([*steps, _step(1000, config='other seed')]), HOLE)
  assert {key: row['runs'] for key, row in rows.items()} == {
    '`code`, 2,000 steps': '1',
    '`code`, 1,000 steps': '1',
  }


def test_of_the_same_weights_the_last_results_count():
  text = report([_step(9, weights='w'), _step(9, weights='w', l1_hole=0.05)])
  assert _row(text, 'code') == {'runs': '1', 'L1 of the hole': '0.05000'}
  text = report([_step(9, weights='w'), _step(9, weights='v')])
  assert _row(text, 'code')['runs'] == '2'


def test_empty_columns_are_left_out():
  assert 'iris' not in report([GAN])
  text = report([GAN, _like('reference', iris_delta_e=5.0)])
  assert _row(text, 'gan')['iris CIEDE2000'] == '-'
  assert _row(text, 'reference')['iris CIEDE2000'] == '5.00'
  text = report([GAN, _like('reference', identity_truth=0.8)])
  rows = _table(text, 'Identity: is this the same person?')
  assert '`telea`' not in rows


def test_the_best_is_the_lowest_the_highest_or_the_nearest():
  found = [
    _like('gan', sharpness=0.7, recall_hole=0.5, l1_hole=0.2),
    _like('code', sharpness=1.1, recall_hole=0.6, l1_hole=0.1),
    _like('reference', sharpness=1.5, recall_hole=0.4, l1_hole=0.3),
  ]
  (section,) = sections([Run(one) for one in found], [])
  best = {
    column.metric: [
      row.line.name for row in table.rows if row.cells[index].best
    ]
    for table in section.tables
    for index, column in enumerate(table.columns)
  }
  assert best['sharpness'] == best['recall_hole'] == best['l1_hole'] == ['code']


def test_the_papers_rows_are_below_ours():
  text = report([_like('code'), GAN])
  keys = list(_table(text, WHOLE))
  another = ', the paper, on another data set (Celeb-ID)'
  assert keys == [
    '`gan`, 1,500 steps',
    f'`gan`{another}',
    f'`reference`{another}',
    '`code`, 1,500 steps',
    f'`code`{another}',
    '`telea`',
  ]
  row = _table(text, WHOLE)[f'`reference`{another}']
  assert row == {
    'runs': '',
    'L1': '0.00715',
    '1 - MS-SSIM': '0.00797',
    'FID': '15.66',
    'Inception Score': '3.56',
  }
  assert 'https://arxiv.org/abs/1712.03999' in text
  text = report([dataclasses.replace(GAN, dataset='celeb_id')])
  assert 'another data set' not in text
  assert '`gan`, the paper, which names no held-out split' in text


def test_fid_has_its_number_of_images():
  text = report([GAN, _like('code', fid=12.345, inception_score=3.456)])
  row = _row(text, 'code', WHOLE)
  assert (row['FID'], row['Inception Score']) == ('12.35', '3.46')
  assert _row(text, 'gan', WHOLE)['FID'] == '-'
  assert 'N = 9 for FID' in text
  assert 'N = ' not in report([GAN])
  more = dataclasses.replace(_like('code', fid=1.0), num_images=12)
  text = report([GAN, more])
  assert '9 or 12 images' in text
  assert '`code`, 1,500 steps, N = 12' in _table(text, WHOLE)


def test_unverified_metrics_have_a_table_of_their_own():
  text = report([_like('code', frechet_distance_unverified=7.0)])
  title = 'Fréchet distance, unverified'
  assert title not in _row(text, 'code', WHOLE)
  assert _row(text, 'code', 'With unverified weights')[title] == '7.00'


def test_a_score_joins_the_section_with_its_number_of_images():
  row = _row(report([GAN, SCORE]), 'another', WHOLE)
  assert row['L1'] == '0.01500 [0.0140, 0.0160] (+50.0 %)'
  for other in (
    dataclasses.replace(SCORE, num_images=10),
    dataclasses.replace(SCORE, resolution=128),
    dataclasses.replace(SCORE, resolution=None),
  ):
    _, _, folders = report([GAN, other]).partition('## Folders\n')
    assert _row(folders, 'another', WHOLE)['L1'] == '0.01500 [0.0140, 0.0160]'
    assert ', the paper' not in folders.partition('## ')[0]
  # It is not clear which of two it belongs to.
  other = dataclasses.replace(GAN, split='validation')
  assert '## Folders' in report([GAN, other, SCORE])
  assert report([SCORE]).startswith('## Folders')


def test_each_reason_is_listed_once():
  text = report([GAN, _like('code'), SCORE])
  assert text.count('fid, inception_score: why') == 1
  assert text.count('why') == 1


def test_a_compressor_has_no_rows_of_the_paper():
  metrics = {'l1_eyes': 0.0125, 'verification_auc': 0.93}
  one = dataclasses.replace(
    GAN, model='compressor', protocol='none', metrics=metrics, baselines={}
  )
  text = report([one, GAN, SCORE])
  assert '## synth_id, test, 64 px, compressor' in text
  row = _row(text, 'compressor', 'The compressor')
  assert row['L1 of the eyes'] == '0.01250'
  assert ', the paper' not in text.partition('## synth_id, test, 64 px\n')[0]
  assert '## Folders' not in text


def test_rows_of_other_records_have_a_note():
  found = [
    dataclasses.replace(_like(model), provenance={'records_sha256': value})
    for model, value in (('gan', 'a'), ('code', 'a'), ('reference', 'b'))
  ]
  assert 'Not all rows have the same records.' in report(found)
  assert 'Not all rows' not in report(found[:2])


def test_other_data_sets_have_their_own_section(tmp_path):
  other = dataclasses.replace(GAN, dataset='photo_id')
  paths = []
  for index, one in enumerate((GAN, other)):
    paths.append(str(tmp_path / f'{index}.json'))
    one.save(paths[-1])
  folder = tmp_path / 'new' / 'folder'
  text = write_report(paths, folder)
  assert text.count('\n## ') + text.startswith('## ') == 2
  assert (folder / 'report.md').read_text(encoding='utf-8') == text
  assert text.count('No images') == 2
  assert sorted(file.name for file in folder.iterdir()) == [
    'report.html',
    'report.md',
  ]


def test_markdown_escapes_what_results_say():
  name = '<script>`|x'
  skipped = {'fid': '[a](http://b) | <b>'}
  text = report([dataclasses.replace(_like(name), skipped=skipped)])
  assert "`<script>'\\|x`, 1,500 steps" in text
  assert '<b>' not in text and '](http://b' not in text


@pytest.mark.parametrize('found', [GAN, SCORE])
def test_results_round_trip(tmp_path, found):
  path = tmp_path / 'results.json'
  found.save(path)
  assert results_lib.load(path) == found
  # Results of older versions have no intervals.
  fields = json.loads(path.read_text())
  del fields['intervals']
  path.write_text(json.dumps(fields))
  older = dataclasses.replace(found, intervals={})
  assert results_lib.load(path) == older


def _deep(depth):
  return {'a': _deep(depth - 1)} if depth else 1


WRONG = {
  'step': ['many', True, -1, 1.5, 10**400],
  'resolution': ['64', -1],
  'model': ['two\nlines', 'x' * 1000, '\ud800'],
  'split': [None],
  'metrics': [None, {'a\nb': 1.0}]
  + [
    {'l1': x} for x in ([1], 'many', True, float('nan'), float('-inf'), 1e300)
  ],
  'baselines': [{'telea': 3}, {'telea': {'l1': {}}}],
  'skipped': [{'fid': 3}, ['fid']],
  'intervals': [None, {'model': [1, 2]}]
  + [{'model': {'l1': x}} for x in ([1], [2, 1], [1, None], [1, float('inf')])],
  'provenance': [[], _deep(20), {'a': 'two\nlines'}],
  'more': [1],
  'method': ['both'],
}
WRONG_SCORE = {
  'method': [None],
  'num_images': [None],
  'resolution': [1.5],
  'intervals': [{'model': {'l1': [1, 2]}}],
  'metrics': [{'l1': []}],
  'step': [1],
}


@pytest.mark.parametrize(
  ('found', 'name', 'value'),
  [
    (found, name, value)
    for found, wrong in ((GAN, WRONG), (SCORE, WRONG_SCORE))
    for name, values in wrong.items()
    for value in values
  ],
)
def test_wrong_fields_are_refused(tmp_path, found, name, value):
  text = json.dumps(dataclasses.asdict(found) | {name: value})
  _assert_refused(tmp_path / 'results.json', text)


@pytest.mark.parametrize(
  'text',
  ['', '[]', '{}', '3', '"a"', '[' * 100_000, '{"a":' * 100_000, '1' * 5000],
  ids=lambda text: text[:5],
)
def test_other_files_are_refused(tmp_path, text):
  _assert_refused(tmp_path / 'results.json', text)


def _assert_refused(path, text):
  path.write_text(text)
  with pytest.raises(InputError, match=path.name) as caught:
    results_lib.load(path)
  assert '\n' not in str(caught.value)


def test_configurations_do_not_share_a_row_but_seeds_do():
  found = [
    dataclasses.replace(
      _like('reference', l1=l1),
      provenance={'config_but_seed_sha256': configuration * 32},
    )
    for l1, configuration in ((0.005, 'ab'), (0.007, 'ab'), (0.01, 'cd'))
  ]
  text = report(found)
  assert '1,500 steps, configuration ababab | 2 | 0.00600' in text
  assert '1,500 steps, configuration cdcdcd | 1 | 0.01000' in text
