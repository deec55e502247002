"""The evaluator on a run of a few steps, against the metrics by hand."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from exgan_jax import baselines as baselines_lib
from exgan_jax import config as config_lib
from exgan_jax import input_pipeline, sheet
from exgan_jax.evaluate import evaluate
from exgan_jax.train import train
from tfds_celeb_id import InputError


@pytest.fixture(scope='module')
def run(synth_data, tmp_path_factory):
  config = config_lib.make(
    'reference', 'tiny', dataset='synth_id', data_dir=synth_data,
    workdir=str(tmp_path_factory.mktemp('run')), resolution=64, batch_size=4,
    generator_width=4, discriminator_width=4, dilations=2, steps=4,
    log_every=2, checkpoint_every=2, sample_every=4, reader_threads=2,
  )  # fmt: skip
  train(config)
  return config


@pytest.fixture(scope='module')
def results(run, tmp_path_factory):
  path = tmp_path_factory.mktemp('sheet') / 'deep' / 'sheet.png'
  found = evaluate(
    run.workdir, run.data_dir, baselines=True, batch_size=4, sheet_path=path
  )
  return found, path


def test_results_have_the_fields_of_the_contract(run, results, tmp_path):
  results[0].save(tmp_path / 'new' / 'results.json')
  saved = json.loads((tmp_path / 'new' / 'results.json').read_text())
  assert saved['model'] == 'reference'
  assert (saved['step'], saved['split'], saved['resolution']) == (4, 'test', 64)
  assert saved['dataset'] == 'synth_id'
  assert saved['num_images'] == 9
  assert saved['protocol'] == 'next-image'
  assert saved['metrics']['ms_ssim_variant'] == 'shrinking'
  for name in ('fid', 'inception_score'):
    assert saved['metrics'][name] is None and saved['skipped'][name]
  assert set(saved['baselines']) == {'mean_fill', 'telea', 'reference_paste'}
  for metrics in (saved['metrics'], *saved['baselines'].values()):
    assert all(0 < metrics[name] < 1 for name in ('l1', 'l1_hole', 'ms_ssim'))
  assert {'versions', 'config_sha256', 'weights_sha256', 'device'} <= set(
    saved['provenance']
  )


def test_a_baseline_scores_what_numpy_says(run, results):
  records = input_pipeline.Records(run.data_dir, 'synth_id', 'test')
  whole, hole = [], []
  for batch in input_pipeline.evaluation_batches(records, 'test', 64, 1):
    mask = sheet.mask_of(batch.inputs)
    filled = baselines_lib.BASELINES['mean_fill'](batch.inputs, mask[..., 0])
    error = np.abs(filled.astype(float) - batch.truth) / 255
    whole.append(error.mean())
    hole.append(error[np.broadcast_to(mask, error.shape)].mean())
  found = results[0].baselines['mean_fill']
  np.testing.assert_allclose(found['l1'], np.mean(whole), rtol=1e-6)
  np.testing.assert_allclose(found['l1_hole'], np.mean(hole), rtol=1e-6)


def test_the_batch_size_changes_nothing(run, results):
  other = evaluate(run.workdir, run.data_dir, baselines=True, batch_size=2)
  for name in ('l1', 'l1_hole', 'ms_ssim'):
    np.testing.assert_allclose(
      other.metrics[name], results[0].metrics[name], rtol=1e-6
    )
    assert other.baselines['telea'][name] == pytest.approx(
      results[0].baselines['telea'][name], rel=1e-6
    )


def test_the_sheet_shows_a_column_a_method(results):
  with Image.open(results[1]) as picture:
    assert picture.size[0] > 7 * 160
  assert [path.name for path in results[1].parent.iterdir()] == ['sheet.png']


def test_closed_eyes_are_scored_against_the_open_scene(run):
  found = evaluate(run.workdir, run.data_dir, split='closed', batch_size=2)
  records = input_pipeline.Records(run.data_dir, 'synth_id', 'closed')
  assert found.num_images == len(records) // 2
  assert found.metrics['l1_hole'] > 0


def test_an_earlier_step_can_be_asked_for(run):
  assert evaluate(run.workdir, run.data_dir, step=2, batch_size=4).step == 2


def test_bad_input_is_one_clear_line(run, tmp_path):
  workdir, data_dir = run.workdir, run.data_dir
  empty = tmp_path / 'empty'
  empty.mkdir()
  config_lib.save(
    dataclasses.replace(run, workdir=str(empty)), empty / 'config.json'
  )
  for arguments, message in (
    ({'workdir': tmp_path / 'none', 'data_dir': data_dir}, 'cannot read'),
    ({'workdir': empty, 'data_dir': data_dir}, 'no checkpoint'),
    ({'workdir': workdir, 'data_dir': tmp_path}, 'no data set'),
    ({'workdir': workdir, 'data_dir': data_dir, 'step': 3}, 'no checkpoint'),
    ({'workdir': workdir, 'data_dir': data_dir, 'batch_size': 3}, 'multiple'),
    ({'workdir': workdir, 'data_dir': data_dir, 'batch_size': 0}, 'multiple'),
    ({'workdir': workdir, 'data_dir': data_dir, 'split': 'x'}, 'no split x'),
  ):
    with pytest.raises(InputError, match=message) as caught:
      evaluate(**arguments)
    assert '\n' not in str(caught.value)
  # Looking for a checkpoint makes no folder for them.
  assert {path.name for path in tmp_path.rglob('*')} == {'empty', 'config.json'}


def test_a_checkpoint_of_another_shape_is_refused(run, tmp_path):
  other = dataclasses.replace(run, generator_width=6)
  wrong = tmp_path / 'wrong'
  wrong.mkdir()
  (wrong / 'checkpoints').symlink_to(
    pathlib.Path(run.workdir, 'checkpoints').resolve()
  )
  config_lib.save(other, wrong / 'config.json')
  with pytest.raises(InputError, match='generator/bottleneck/0/conv/bias is'):
    evaluate(wrong, run.data_dir, batch_size=4)
