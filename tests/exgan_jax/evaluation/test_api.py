"""Evaluations of short runs, against metrics computed with NumPy."""

import csv
import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from exgan_jax import config as config_lib
from exgan_jax.data import eval_batches, train_batches
from exgan_jax.errors import InputError
from exgan_jax.evaluation import api, inception
from exgan_jax.evaluation import baselines as baselines_lib
from exgan_jax.evaluation import evaluator as evaluator_lib
from exgan_jax.evaluation.folders import score
from exgan_jax.evaluation.inception_features import Distribution, Extractor
from exgan_jax.evaluation.metrics import frechet_sampling, two_sample
from exgan_jax.models import masks
from exgan_jax.runtime import sharding
from exgan_jax.training.checkpoint import restore_encoder
from exgan_jax.training.loop import train


def evaluate(config, **options):
  options = {'batch_size': 4} | options
  return api.evaluate(config.workdir, config.data_dir, **options)


@pytest.fixture(scope='module')
def run(make_config, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('run')
  config = make_config('reference', workdir, steps=4, checkpoint_every=2)
  train(config)
  return config


@pytest.fixture(scope='module')
def codes(make_config, tmp_path_factory):
  """A compressor, and a code model that uses it."""
  folder = tmp_path_factory.mktemp('codes')
  compressor = make_config('compressor', folder / 'compressor', steps=2)
  train(compressor)
  code = make_config(
    'code', folder / 'code', compressor=compressor.workdir, steps=2
  )
  train(code)
  return compressor, code


@pytest.fixture(scope='module')
def results(run, tmp_path_factory):
  path = tmp_path_factory.mktemp('found') / 'deep' / 'results.json'
  return evaluate(run, baselines=True, output=path), path


def test_files_and_fields(results):
  found, path = results
  assert {other.name for other in path.parent.iterdir()} == {
    *('results.csv', 'results.json', 'results.npz', 'results.png')
  }
  with Image.open(path.with_suffix('.png')) as picture:
    assert picture.size[0] > 9 * 160
  assert json.loads(path.read_text()) == dataclasses.asdict(found)
  assert (found.model, found.dataset) == ('reference', 'synth_id')
  assert (found.step, found.split, found.resolution) == (4, 'test', 64)
  assert (found.num_images, found.protocol) == (9, 'next-image')
  metrics = found.metrics
  assert metrics['ms_ssim_variant'] == 'shrinking'
  for name in ('fid', 'inception_score'):
    assert metrics[name] is None and found.skipped[name]
  assert set(found.baselines) == {
    *('mean_fill', 'telea', 'reference_paste', 'reference_clone')
  }
  for values in (metrics, *found.baselines.values()):
    assert all(0 < values[name] < 1 for name in ('l1', 'l1_hole', 'ms_ssim'))
    assert 0 < values['iris_delta_e'] < 100
  assert metrics['l1_hole_swapped_ratio'] == pytest.approx(
    metrics['l1_hole_swapped'] / metrics['l1_hole']
  )
  assert metrics['code_distance'] is None
  assert '--compressor' in found.skipped['code_distance_swapped']
  assert found.provenance.keys() >= {
    *('versions', 'config_sha256', 'weights_sha256', 'device')
  }


@pytest.fixture(params=[True])
def verified(request, monkeypatch):
  """Replaces the Inception network by mean colors."""

  def apply(pictures, boxes):
    colors = np.asarray(pictures).astype(np.float32).mean(axis=(1, 2)) / 255
    features = np.pad(colors, ((0, 0), (0, inception.FEATURES - 3)))
    both = [np.stack([x, 2 * x], axis=1) for x in (features, colors)]
    return {'': (features, 9 * colors), '_hole': tuple(both)}

  extractor = Extractor(apply, request.param, 'of nothing')
  monkeypatch.setattr(evaluator_lib, 'make_extractor', lambda *_: extractor)
  monkeypatch.setattr(frechet_sampling, 'RESAMPLES', 2)
  monkeypatch.setattr(two_sample, '_STEPS', 3)
  return request.param


def _originals_and_filled(run, split):
  """Yields images, those that `mean_fill` makes of them, and hole masks."""
  records = train_batches.Records(run.data_dir, 'synth_id', split)
  for batch in eval_batches.evaluation_batches(records, split, 64, 1):
    mask = masks.mask_of(batch.inputs)
    fill = baselines_lib.BASELINES['mean_fill']
    yield batch.truth[0], fill(batch.inputs, mask[..., 0])[0], mask[0]


@pytest.mark.parametrize('verified', [True, False], indirect=True)
def test_fid_and_inception_score(run, verified):
  one, other = (
    evaluate(run, split='train', baselines=True, batch_size=batch_size)
    for batch_size in (7, 64)
  )
  names = ('fid', 'inception_score', 'inception_score_std')
  if not verified:
    assert one.metrics['fid'] is one.metrics['inception_score'] is None
    assert {'fid', 'inception_score'} <= one.skipped.keys()
    names = (
      *('frechet_distance_unverified', 'inception_score_unverified'),
      'inception_score_unverified_std',
    )
  for name in names:
    assert one.metrics[name] == pytest.approx(other.metrics[name], abs=1e-9)
  low, high = one.intervals['model'][names[0]]
  assert low < one.metrics[names[0]] < high
  true, filled = [], []
  for truth, picture, _ in _originals_and_filled(run, 'train'):
    true.append(truth.mean(axis=(0, 1)) / 255)
    filled.append(picture.mean(axis=(0, 1)) / 255)
  true, filled = np.array(true, float), np.array(filled, float)
  product = np.cov(true, rowvar=False) @ np.cov(filled, rowvar=False)
  root = np.sqrt(np.linalg.eigvals(product).real).sum()
  traces = np.var([true, filled], axis=1, ddof=1).sum()
  expected = ((true - filled).mean(axis=0) ** 2).sum() + traces - 2 * root
  found = one.baselines['mean_fill']
  assert found[names[0]] == pytest.approx(expected, rel=1e-5)
  hole = names[0].replace('distance', 'distance_hole') + '_hole' * verified
  assert found[hole] > expected
  assert one.provenance['inception_sha256'] == 'of nothing'


def test_statistics_of_the_originals_are_reused(
  run, verified, monkeypatch, tmp_path
):
  options = {'batch_size': 8, 'real_statistics': tmp_path / 'new' / 'a.npz'}
  one = evaluate(run, **options)
  seen = []
  add = Distribution.add

  def counted(self, *args):
    seen.append(self)
    add(self, *args)

  monkeypatch.setattr(Distribution, 'add', counted)
  other = evaluate(run, **options)
  assert len(set(map(id, seen))) == 1
  assert other.metrics['fid'] == pytest.approx(one.metrics['fid'], abs=1e-12)
  with pytest.raises(InputError, match='was made with split'):
    evaluate(run, split='train', **options)


def test_a_damaged_cache_is_replaced(run, verified, cache, caplog):
  one = evaluate(run)
  (path,) = (cache / 'real_statistics').iterdir()
  path.write_bytes(b'damaged')
  assert evaluate(run).metrics['fid'] == one.metrics['fid']
  assert 'recomputing it' in caplog.text
  assert path.stat().st_size > 10_000


def test_a_baseline_agrees_with_numpy(run, results):
  whole, hole = [], []
  for truth, filled, mask in _originals_and_filled(run, 'test'):
    error = np.abs(filled.astype(float) - truth) / 255
    whole.append(error.mean())
    hole.append(error[np.broadcast_to(mask, error.shape)].mean())
  found = results[0].baselines['mean_fill']
  np.testing.assert_allclose(found['l1'], np.mean(whole), rtol=1e-6)
  np.testing.assert_allclose(found['l1_hole'], np.mean(hole), rtol=1e-6)
  low, high = results[0].intervals['mean_fill']['l1_hole']
  assert low < found['l1_hole'] < high


def test_every_image_has_a_line(run, results):
  found, path = results
  with path.with_suffix('.csv').open(newline='') as file:
    lines = list(csv.DictReader(file))
  records = train_batches.Records(run.data_dir, 'synth_id', 'test')
  assert [line['filename'] for line in lines] == [
    records[i].filename for i in range(len(records))
  ]
  columns = ('l1', 'l1_hole', 'ms_ssim', 'l1_hole_swapped')
  expected = {name: found.metrics[name] for name in columns}
  expected['telea/l1'] = found.baselines['telea']['l1']
  for name, value in expected.items():
    mean = np.mean([float(line[name]) for line in lines])
    assert value == pytest.approx(mean, rel=1e-12)


def test_saved_images_have_the_same_score(run, results, tmp_path):
  evaluate(run, baselines=True, pictures=tmp_path)
  methods = {'result': results[0].metrics} | results[0].baselines
  for folder in ('result', 'telea', 'reference_clone'):
    found = score(
      tmp_path / 'original', tmp_path / folder, masks=tmp_path / 'mask'
    )
    assert found.num_images == 9 and found.resolution == 64
    for name in ('l1', 'l1_hole', 'ms_ssim', 'sharpness', 'spectrum_high'):
      expected = methods[folder][name]
      assert found.metrics[name] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize('batch_size', [1, 7, 64])
def test_the_batch_size_changes_nothing(run, results, batch_size):
  other = evaluate(run, baselines=True, batch_size=batch_size)
  assert other.metrics == pytest.approx(results[0].metrics, abs=1e-9)
  for name, metrics in other.baselines.items():
    assert metrics == pytest.approx(results[0].baselines[name], abs=1e-9)


def test_closed_eyes_are_compared_with_open_ones(run):
  found = evaluate(run, split='closed', step=2)
  records = train_batches.Records(run.data_dir, 'synth_id', 'closed')
  assert found.num_images == len(records) // 2
  assert found.metrics['l1_hole'] > 0 and found.step == 2


def test_bad_input_is_one_line(run, tmp_path):
  empty = dataclasses.replace(run, workdir=str(tmp_path / 'empty'))
  config_lib.save(empty, tmp_path / 'empty' / 'config.json')
  none = dataclasses.replace(run, workdir=str(tmp_path / 'none'))
  no_data = dataclasses.replace(run, data_dir=str(tmp_path))
  for config, options, message in (
    (none, {}, 'cannot read'),
    (empty, {}, 'no checkpoint'),
    (no_data, {}, 'no data set'),
    (run, {'step': 3}, 'no checkpoint'),
    (run, {'batch_size': 0}, '--batch-size must be'),
    (run, {'split': 'x'}, 'no split x'),
    (run, {'references': 0}, '--references'),
    (run, {'compressor': run.workdir}, 'holds a reference model'),
    (run, {'pictures': tmp_path}, 'is not empty'),
  ):
    with pytest.raises(InputError, match=message) as caught:
      evaluate(config, **options)
    assert '\n' not in str(caught.value)
  # No folder for checkpoints is created.
  assert {path.name for path in tmp_path.rglob('*')} == {'empty', 'config.json'}


def test_a_checkpoint_of_another_shape_is_refused(run, tmp_path):
  other = dataclasses.replace(run, generator_width=6, workdir=str(tmp_path))
  (tmp_path / 'checkpoints').symlink_to(
    pathlib.Path(run.workdir, 'checkpoints').resolve()
  )
  config_lib.save(other, tmp_path / 'config.json')
  with pytest.raises(InputError, match='generator/bottleneck/0/conv/bias is'):
    evaluate(other)


def test_a_compressor_has_its_own_metrics(codes, tmp_path):
  compressor, _ = codes
  output = tmp_path / 'results.json'
  found = evaluate(compressor, output=output)
  assert 0 < found.metrics['l1_eyes'] < 1
  assert 0 <= found.metrics['verification_auc'] <= 1
  assert found.model == 'compressor' and found.baselines == {}
  with Image.open(output.with_suffix('.png')) as picture:
    assert picture.size[0] > 2 * 160
  other = evaluate(compressor, batch_size=2)
  for name in ('l1_eyes', 'verification_auc'):
    assert other.metrics[name] == pytest.approx(found.metrics[name], abs=1e-9)


def test_a_code_model_needs_its_compressor_only_to_start(codes, tmp_path):
  compressor, code = codes
  alone = dataclasses.replace(code, compressor='', workdir=str(tmp_path / 'w'))
  with pytest.raises(InputError, match='--compressor is missing'):
    train(alone)
  assert not (tmp_path / 'w').exists()
  shutil.copytree(code.workdir, tmp_path / 'w')
  trained = train(dataclasses.replace(alone, steps=3))
  mesh = sharding.make_mesh(4)
  _, encoder = restore_encoder(compressor.workdir, compressor, mesh)
  jax.tree.map(np.testing.assert_array_equal, trained.encoder, encoder)
  assert evaluate(alone).metrics['code_distance'] > 0


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'resolution': 32}, '--resolution 64'),
    ({'code_size': 5}, '--code-size 128'),
    ({'compressor_width': 5}, '--compressor-width 4'),
  ],
)
def test_a_compressor_that_does_not_fit_is_refused(
  codes, tmp_path, change, message
):
  other = dataclasses.replace(codes[1], workdir=str(tmp_path / 'w'), **change)
  with pytest.raises(InputError, match=message):
    train(other)
  assert not (tmp_path / 'w').exists()


def test_any_compressor_measures_code_distances(run, codes):
  found = evaluate(run, compressor=codes[0].workdir)
  assert found.metrics['code_distance'] > 0
  assert found.metrics['code_distance_swapped'] > 0
  assert 'code_distance' not in found.skipped


def test_only_a_model_without_reference_ignores_the_stranger(
  run, codes, tmp_path
):
  gan = dataclasses.replace(run, preset='gan', workdir=str(tmp_path), steps=2)
  train(gan)
  found = evaluate(gan).metrics
  for name in ('l1_hole', 'iris_delta_e'):
    assert found[f'{name}_swapped'] == found[name]
  assert found['l1_hole_swapped_ratio'] == 1.0
  for config in (run, codes[1]):
    one, two = (evaluate(config, references=count) for count in (1, 2))
    assert one.metrics['l1_hole_swapped'] != one.metrics['l1_hole']
    assert two.protocol == 'next-2-images'
    assert one.metrics['l1_hole'] != two.metrics['l1_hole']
