"""The metrics of a method over batches, and its CSV file."""

import csv

import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax import config as config_lib
from exgan_jax.evaluation import collect, metrics
from exgan_jax.evaluation.metrics import bootstrap
from exgan_jax.models import lpips, warp


def _values(count, seed=0):
  rng = np.random.default_rng(seed)
  values = {
    name: rng.random(count, np.float32) for name in (*collect.PIXELS, 'l1')
  }
  sums = rng.integers(0, 25_500, (count, 2, 2, 4))
  sums[..., 3] = 100
  sums[0, :, 1] = 0
  return values | {
    'iris_sums': sums,
    'has_hole': np.arange(count) != 2,
    'codes': rng.normal(size=(count, 2, 3)).astype(np.float32),
    'code_distance': rng.random(count, np.float32),
  }


def _distances(values):
  sums = values['iris_sums']
  return metrics.iris_delta_e(sums[:, 0], sums[:, 1])


def _part(values, rows):
  return {name: value[rows] for name, value in values.items()}


@pytest.mark.parametrize('batch_size', [1, 7, 64])
def test_not_a_bit_depends_on_the_batch_size(batch_size):
  values, everyone = _values(20), np.ones(20, bool)
  whole, parts = collect.Scores(), collect.Scores()
  whole.add(values, np.arange(20), everyone)
  for start in range(0, 20, batch_size):
    rows = np.arange(start, start + batch_size)
    # The last batch is padded by copies, which do not count.
    part = _part(values, np.minimum(rows, 19))
    parts.add(part, rows, rows < 20)
  one, other = whole.compute('standard'), parts.compute('standard')
  frechet = one.pop(collect.FRECHET), other.pop(collect.FRECHET)
  assert one == other
  assert frechet[0] == pytest.approx(frechet[1], abs=1e-9)
  people = np.arange(20) // 4
  intervals = whole.intervals(people)
  assert intervals == parts.intervals(people)
  assert intervals.keys() >= {*collect.PIXELS, collect.IRISES}
  assert all(low < one[name] < high for name, (low, high) in intervals.items())
  assert intervals['l1'] == bootstrap.interval(
    values['l1'], people, bootstrap.weighted_mean
  )
  assert one['l1'] == values['l1'].mean(dtype=np.float64)
  assert one['l1_hole'] == pytest.approx(np.delete(values['l1_hole'], 2).mean())
  assert one['iris_delta_e'] == np.nanmedian(_distances(values))


def test_the_file_has_a_line_a_picture_and_gaps_where_nothing_is(tmp_path):
  values = _values(4)
  model, other = collect.Scores(), collect.Scores()
  model.add(values, np.arange(4), np.array([True, True, True, False]))
  other.add({'l1': values['l1']}, np.arange(4), np.ones(4, bool))
  path = tmp_path / 'new' / 'results.csv'
  names = ['plain', 'with, comma', 'with "quotes"', 'ünïcode']
  collect.save_csv(path, {'filename': names}, {'': model, 'telea': other})
  with path.open(encoding='utf-8', newline='') as file:
    lines = list(csv.DictReader(file))
  assert [line['filename'] for line in lines] == names
  assert float(lines[1]['l1']) == values['l1'][1]
  assert lines[2]['l1_hole'] == lines[3]['l1'] == ''
  assert lines[0]['iris_delta_e_right'] == ''
  assert float(lines[1]['iris_delta_e_right']) == _distances(values)[1, 1]
  assert float(lines[3]['telea/l1']) == values['l1'][3]
  assert [p.name for p in path.parent.iterdir()] == ['results.csv']


def test_the_distance_of_codes_is_frechet_s():
  values = _values(50)
  found = collect.Scores()
  found.add(values, np.arange(50), np.ones(50, bool))
  one, other = values['codes'].astype(float).transpose(1, 0, 2)
  product = np.cov(one, rowvar=False) @ np.cov(other, rowvar=False)
  root = np.sqrt(np.linalg.eigvals(product).real).sum()
  traces = one.var(axis=0, ddof=1).sum() + other.var(axis=0, ddof=1).sum()
  difference = one.mean(axis=0) - other.mean(axis=0)
  assert found.compute('standard')[collect.FRECHET] == pytest.approx(
    difference @ difference + traces - 2 * root, rel=1e-6
  )


def test_pixels_of_a_batch():
  rng = np.random.default_rng(0)
  truth, painted = rng.integers(0, 256, (2, 3, 64, 64, 3), np.uint8)
  mask = np.zeros((3, 64, 64, 1), bool)
  mask[:2, 20:40, 10:50] = True
  batch = {'truth': truth, 'painted': painted, 'mask': mask}
  found = collect.compare('shrinking', None, batch)
  assert found['has_hole'].tolist() == [True, True, False]
  np.testing.assert_array_equal(
    found['l1'], metrics.l1_per_image(truth, painted)
  )
  # Now only the holes differ.
  batch['painted'] = np.where(mask, painted, truth)
  found = collect.compare('shrinking', None, batch)
  assert (found['ms_ssim_hole'] > found['ms_ssim'])[:2].all()


def _alexnet():
  rng = np.random.default_rng(0)
  weights = {}
  for i, (shape, *_) in enumerate(lpips.LAYERS):
    scale = np.sqrt(2 / np.prod(shape[:3]))
    weights |= {
      f'AlexNet_0/Conv_{i}/kernel': scale * rng.normal(size=shape),
      f'AlexNet_0/Conv_{i}/bias': np.zeros(shape[-1]),
      f'NetLinLayer_{i}/Conv_0/kernel': rng.random((1, 1, shape[-1], 1)),
    }
  return {name: jnp.asarray(x, jnp.float32) for name, x in weights.items()}


def test_lpips_is_that_of_the_eye_strips():
  rng = np.random.default_rng(1)
  truth = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
  painted = truth.copy()
  painted[1, 20:36] = 255 - painted[1, 20:36]
  eyes = np.float32([[[20, 28], [44, 28]]] * 2)
  batch = {
    'truth': jnp.asarray(truth),
    'painted': jnp.asarray(painted),
    'mask': jnp.zeros((2, 64, 64, 1), bool),
    'eyes': jnp.asarray(eyes),
    'irises': jnp.zeros((2, 2, 64, 64), jnp.uint8),
    **{name: jnp.ones(2, bool) for name in collect.PASSED},
  }
  config, alexnet = config_lib.make('gan', 'tiny', resolution=64), _alexnet()
  assert 'lpips' not in collect.score_batch(config, collect.Networks(), batch)
  networks = collect.Networks(alexnet=alexnet)
  found = np.asarray(collect.score_batch(config, networks, batch)['lpips'])
  corners = warp.corners_of_eyes(jnp.asarray(eyes))
  strips = [
    lpips.strips(jnp.asarray(x, jnp.float32) / 127.5 - 1, corners)
    for x in (truth, painted)
  ]
  expected = lpips.distance(alexnet, strips[0], strips[1])
  assert found[0] == 0 and found[1] > 0
  np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_missing_network_is_named():
  scores = collect.Scores()
  scores.add(_values(5), np.arange(5), np.ones(5, bool))
  assert '--lpips' in scores.skipped(collect.Networks())['lpips']
