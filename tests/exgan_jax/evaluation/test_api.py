"""The evaluator on a run of a few steps, against the metrics by hand."""

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
from exgan_jax.evaluation import baselines as baselines_lib
from exgan_jax.evaluation import evaluator as evaluator_lib
from exgan_jax.evaluation import inception, real_statistics
from exgan_jax.evaluation.api import evaluate
from exgan_jax.evaluation.folders import score
from exgan_jax.evaluation.inception_features import Distribution, Extractor
from exgan_jax.evaluation.metrics import frechet_sampling
from exgan_jax.models import masks
from exgan_jax.runtime import sharding
from exgan_jax.training.checkpoint import restore_encoder
from exgan_jax.training.loop import train


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
  path = tmp_path_factory.mktemp('found') / 'deep' / 'results.json'
  found = evaluate(
    run.workdir, run.data_dir, baselines=True, batch_size=4, output=path
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
  assert set(saved['baselines']) == {
    'mean_fill', 'telea', 'reference_paste', 'reference_clone',
  }  # fmt: skip
  for metrics in (saved['metrics'], *saved['baselines'].values()):
    assert all(0 < metrics[name] < 1 for name in ('l1', 'l1_hole', 'ms_ssim'))
    assert 0 < metrics['iris_delta_e'] < 100
  metrics = saved['metrics']
  assert metrics['l1_hole_swapped_ratio'] == pytest.approx(
    metrics['l1_hole_swapped'] / metrics['l1_hole']
  )
  assert metrics['code_distance'] is None
  assert '--compressor' in saved['skipped']['code_distance_swapped']
  assert {'versions', 'config_sha256', 'weights_sha256', 'device'} <= set(
    saved['provenance']
  )


def _mean_colours(verified):
  """In the place of the network: features and logits that are quick to have."""

  def apply(pictures, boxes):
    colours = np.asarray(pictures).astype(np.float32).mean(axis=(1, 2)) / 255
    features = np.pad(colours, ((0, 0), (0, inception.FEATURES - 3)))
    both = [np.stack([x, 2 * x], axis=1) for x in (features, colours)]
    return {'': (features, 9 * colours), '_hole': tuple(both)}

  return Extractor(apply, verified, 'of nothing')


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
  """Nothing of what other tests kept is found, nor is anything left."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))


@pytest.mark.parametrize('verified', [True, False])
def test_fid_and_inception_score(run, monkeypatch, verified):
  monkeypatch.setattr(
    evaluator_lib, 'make_extractor', lambda *_: _mean_colours(verified)
  )
  monkeypatch.setattr(frechet_sampling, 'RESAMPLES', 2)
  found = {}
  for batch_size in (7, 64):
    results = evaluate(
      run.workdir, run.data_dir, split='train', baselines=True,
      batch_size=batch_size,
    )  # fmt: skip
    found[batch_size] = results.metrics
  one, other = found.values()
  names = ('fid', 'inception_score', 'inception_score_std')
  if not verified:
    assert one['fid'] is one['inception_score'] is None
    assert {'fid', 'inception_score'} <= results.skipped.keys()
    names = (
      'frechet_distance_unverified', 'inception_score_unverified',
      'inception_score_unverified_std',
    )  # fmt: skip
  for name in names:
    assert one[name] == pytest.approx(other[name], abs=1e-9)
  low, high = results.intervals['model'][names[0]]
  assert low < other[names[0]] < high
  # The originals against what was painted, by NumPy.
  true, filled = [], []
  for truth, picture in _originals_and_filled(run, 'train'):
    true.append(truth.mean(axis=(0, 1)) / 255)
    filled.append(picture.mean(axis=(0, 1)) / 255)
  true, filled = np.array(true, float), np.array(filled, float)
  product = np.cov(true, rowvar=False) @ np.cov(filled, rowvar=False)
  root = np.sqrt(np.linalg.eigvals(product).real).sum()
  traces = np.var([true, filled], axis=1, ddof=1).sum()
  expected = ((true - filled).mean(axis=0) ** 2).sum() + traces - 2 * root
  assert results.baselines['mean_fill'][names[0]] == pytest.approx(
    expected, rel=1e-5
  )
  hole = names[0].replace('distance', 'distance_hole') + '_hole' * verified
  assert results.baselines['mean_fill'][hole] > expected
  assert results.provenance['inception_sha256'] == 'of nothing'


def _originals_and_filled(run, split):
  """Pictures of a split, and as the baseline `mean_fill` has them."""
  records = train_batches.Records(run.data_dir, 'synth_id', split)
  for batch in eval_batches.evaluation_batches(records, split, 64, 1):
    mask = masks.mask_of(batch.inputs)
    fill = baselines_lib.BASELINES['mean_fill']
    yield batch.truth[0], fill(batch.inputs, mask[..., 0])[0]


def test_statistics_of_the_originals_are_kept_and_used(
  run, monkeypatch, tmp_path
):
  monkeypatch.setattr(
    evaluator_lib, 'make_extractor', lambda *_: _mean_colours(True)
  )
  path = tmp_path / 'new' / 'originals.npz'
  options = {'batch_size': 8, 'real_statistics': path}
  one = evaluate(run.workdir, run.data_dir, **options)
  looked_at = []
  add = Distribution.add
  monkeypatch.setattr(
    Distribution, 'add', lambda self, *args: looked_at.append(self) or add(
      self, *args
    ),
  )  # fmt: skip
  other = evaluate(run.workdir, run.data_dir, **options)
  assert len({id(seen) for seen in looked_at}) == 1
  assert other.metrics['fid'] == pytest.approx(one.metrics['fid'], abs=1e-12)
  with pytest.raises(InputError, match='was made with split'):
    evaluate(run.workdir, run.data_dir, split='train', **options)


def test_a_baseline_scores_what_numpy_says(run, results):
  records = train_batches.Records(run.data_dir, 'synth_id', 'test')
  whole, hole = [], []
  for batch in eval_batches.evaluation_batches(records, 'test', 64, 1):
    mask = masks.mask_of(batch.inputs)
    filled = baselines_lib.BASELINES['mean_fill'](batch.inputs, mask[..., 0])
    error = np.abs(filled.astype(float) - batch.truth) / 255
    whole.append(error.mean())
    hole.append(error[np.broadcast_to(mask, error.shape)].mean())
  found = results[0].baselines['mean_fill']
  np.testing.assert_allclose(found['l1'], np.mean(whole), rtol=1e-6)
  np.testing.assert_allclose(found['l1_hole'], np.mean(hole), rtol=1e-6)
  low, high = results[0].intervals['mean_fill']['l1_hole']
  assert low < found['l1_hole'] < high


def test_every_picture_has_a_line(run, results):
  with results[1].with_suffix('.csv').open(newline='') as file:
    lines = list(csv.DictReader(file))
  records = train_batches.Records(run.data_dir, 'synth_id', 'test')
  assert [line['filename'] for line in lines] == [
    records[i].filename for i in range(len(records))
  ]
  for name in ('l1', 'l1_hole', 'ms_ssim', 'l1_hole_swapped'):
    mean = np.mean([float(line[name]) for line in lines])
    assert results[0].metrics[name] == pytest.approx(mean, rel=1e-12)
  assert results[0].baselines['telea']['l1'] == pytest.approx(
    np.mean([float(line['telea/l1']) for line in lines]), rel=1e-12
  )


def test_pictures_are_written_and_score_the_same(run, results, tmp_path):
  evaluate(
    run.workdir, run.data_dir, baselines=True, batch_size=4,
    pictures=tmp_path,
  )  # fmt: skip
  for folder, expected in (
    ('result', results[0].metrics),
    ('telea', results[0].baselines['telea']),
    ('reference_clone', results[0].baselines['reference_clone']),
  ):
    found = score(
      tmp_path / 'original', tmp_path / folder, masks=tmp_path / 'mask'
    )
    assert found.num_images == 9 and found.resolution == 64
    for name in ('l1', 'l1_hole', 'ms_ssim', 'ms_ssim_hole'):
      assert found.metrics[name] == pytest.approx(expected[name], abs=1e-9)


@pytest.mark.parametrize('batch_size', [1, 7, 64])
def test_the_batch_size_changes_nothing(run, results, batch_size):
  other = evaluate(
    run.workdir, run.data_dir, baselines=True, batch_size=batch_size
  )
  assert other.metrics == pytest.approx(results[0].metrics, abs=1e-9)
  for name, metrics in other.baselines.items():
    assert metrics == pytest.approx(results[0].baselines[name], abs=1e-9)


def test_the_sheet_shows_a_column_a_method(results):
  path = results[1]
  with Image.open(path.with_suffix('.png')) as picture:
    assert picture.size[0] > 9 * 160
  assert {other.name for other in path.parent.iterdir()} == {
    'results.csv', 'results.json', 'results.npz', 'results.png',
  }  # fmt: skip


def test_closed_eyes_are_scored_against_the_open_scene(run):
  found = evaluate(run.workdir, run.data_dir, split='closed', batch_size=2)
  records = train_batches.Records(run.data_dir, 'synth_id', 'closed')
  assert found.num_images == len(records) // 2
  assert found.metrics['l1_hole'] > 0


def test_an_earlier_step_can_be_asked_for(run):
  assert evaluate(run.workdir, run.data_dir, step=2, batch_size=4).step == 2


def test_pictures_are_not_mixed_with_others(run, tmp_path):
  (tmp_path / 'a.txt').write_text('mine')
  with pytest.raises(InputError, match='is not empty'):
    evaluate(run.workdir, run.data_dir, pictures=tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ['a.txt']


def test_a_damaged_cache_is_made_anew(run, monkeypatch, caplog):
  monkeypatch.setattr(
    evaluator_lib, 'make_extractor', lambda *_: _mean_colours(True)
  )
  one = evaluate(run.workdir, run.data_dir, batch_size=8)
  (path,) = real_statistics.Store({}).path.parent.iterdir()
  path.write_bytes(b'damaged')
  other = evaluate(run.workdir, run.data_dir, batch_size=8)
  assert 'recomputing it' in caplog.text
  assert other.metrics['fid'] == one.metrics['fid']
  assert path.stat().st_size > 10_000


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
    (
      {'workdir': workdir, 'data_dir': data_dir, 'batch_size': 0},
      '--batch-size must be',
    ),
    ({'workdir': workdir, 'data_dir': data_dir, 'split': 'x'}, 'no split x'),
    (
      {'workdir': workdir, 'data_dir': data_dir, 'references': 0},
      '--references',
    ),
    (
      {'workdir': workdir, 'data_dir': data_dir, 'compressor': workdir},
      'holds a reference model',
    ),
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
  with pytest.raises(
    InputError, match='model/generator/bottleneck/0/conv/bias is'
  ):
    evaluate(wrong, run.data_dir, batch_size=4)


@pytest.fixture(scope='module')
def codes(run, tmp_path_factory):
  """A compressor and a code model that uses it."""
  folder = tmp_path_factory.mktemp('codes')
  same = {
    'size': 'tiny', 'dataset': 'synth_id', 'data_dir': run.data_dir,
    'resolution': 64, 'batch_size': 4, 'compressor_width': 4, 'steps': 2,
    'generator_width': 4, 'discriminator_width': 4, 'dilations': 2,
    'reader_threads': 2,
  }  # fmt: skip
  compressor = config_lib.make(
    'compressor', workdir=str(folder / 'compressor'), **same
  )
  train(compressor)
  code = config_lib.make(
    'code', workdir=str(folder / 'code'), compressor=compressor.workdir, **same
  )
  train(code)
  return compressor, code


def test_the_compressor_has_an_evaluation_of_its_own(codes, tmp_path):
  compressor, _ = codes
  output = tmp_path / 'results.json'
  found = evaluate(
    compressor.workdir, compressor.data_dir, batch_size=4,
    output=output,
  )  # fmt: skip
  assert 0 < found.metrics['l1_eyes'] < 1
  assert 0 <= found.metrics['verification_auc'] <= 1
  assert found.model == 'compressor' and found.baselines == {}
  with Image.open(output.with_suffix('.png')) as picture:
    assert picture.size[0] > 2 * 160
  other = evaluate(compressor.workdir, compressor.data_dir, batch_size=2)
  for name in ('l1_eyes', 'verification_auc'):
    assert other.metrics[name] == pytest.approx(found.metrics[name], abs=1e-9)


def test_a_code_model_needs_its_compressor_to_begin_and_never_again(
  codes, tmp_path
):
  compressor, code = codes
  alone = dataclasses.replace(code, compressor='', workdir=str(tmp_path / 'w'))
  with pytest.raises(InputError, match='--compressor is missing'):
    train(alone)
  assert not (tmp_path / 'w').exists()
  shutil.copytree(code.workdir, tmp_path / 'moved')
  moved = dataclasses.replace(
    code, compressor='', workdir=str(tmp_path / 'moved'), steps=3
  )
  trained = train(moved)
  mesh = sharding.make_mesh(4)
  _, encoder = restore_encoder(compressor.workdir, compressor, mesh)
  for a, b in zip(
    jax.tree.leaves(trained.encoder), jax.tree.leaves(encoder), strict=True
  ):
    np.testing.assert_array_equal(a, b)
  found = evaluate(moved.workdir, moved.data_dir, batch_size=4)
  assert found.metrics['code_distance'] > 0


@pytest.mark.parametrize(
  'change, message',
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


def test_any_compressor_measures_the_distance_of_codes(run, codes):
  found = evaluate(
    run.workdir, run.data_dir, batch_size=4, compressor=codes[0].workdir
  )
  assert found.metrics['code_distance'] > 0
  assert found.metrics['code_distance_swapped'] > 0
  assert 'code_distance' not in found.skipped


def test_a_stranger_changes_all_but_the_model_without_exemplar(
  run, codes, tmp_path
):
  gan = dataclasses.replace(run, preset='gan', workdir=str(tmp_path), steps=2)
  train(gan)
  found = evaluate(gan.workdir, gan.data_dir, batch_size=4).metrics
  for name in ('l1_hole', 'iris_delta_e'):
    assert found[f'{name}_swapped'] == found[name]
  assert found['l1_hole_swapped_ratio'] == 1.0
  for config in (run, codes[1]):
    found = evaluate(config.workdir, config.data_dir, batch_size=4).metrics
    assert found['l1_hole_swapped'] != found['l1_hole']


def test_several_references_are_told(run, codes):
  for config in (run, codes[1]):
    one, two = (
      evaluate(config.workdir, config.data_dir, batch_size=4, references=count)
      for count in (1, 2)
    )
    assert two.protocol == 'next-2-images'
    assert one.metrics['l1_hole'] != two.metrics['l1_hole']
