"""The metrics of a method over batches, and its CSV file."""

import csv

import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax import config as config_lib
from exgan_jax.evaluation import (
  collect,
  inception_features,
  measures,
  metrics,
)
from exgan_jax.evaluation.metrics import bootstrap
from exgan_jax.models import lpips, masks, warp


def _values(count, seed=0):
  rng = np.random.default_rng(seed)
  names = (*measures.MEASURES, measures.IRISES)
  values = {name: rng.random(count, np.float32) for name in names}
  for name in (measures.IRISES, measures.LIDS):
    sums = rng.integers(0, 25_500, (count, 2, 2, 4))
    sums[..., 3] = 100
    sums[0, :, 1] = 0
    values[name] = sums
  values['lid_error'][1] = np.nan
  there = np.ones((count, 2), bool)
  there[2] = False
  del values[measures.CLASSIFIER]
  crops = rng.integers(0, 256, (count, 2, 2, 32, 32, 3), np.uint8)
  return values | {'there': there, 'crops': crops}


def _distances(values):
  sums = values[measures.IRISES]
  return metrics.color_distance(sums[:, 0], sums[:, 1])


def _part(values, rows):
  return {name: value[rows] for name, value in values.items()}


@pytest.mark.parametrize('batch_size', [1, 7, 64])
def test_not_a_bit_depends_on_the_batch_size(batch_size):
  values, everyone = _values(20), np.ones(20, bool)
  people = np.arange(20) // 2
  whole, parts = collect.Scores(), collect.Scores()
  whole.add(values, np.arange(20), everyone)
  for start in range(0, 20, batch_size):
    rows = np.arange(start, start + batch_size)
    # The last batch is padded by copies, which do not count.
    part = _part(values, np.minimum(rows, 19))
    parts.add(part, rows, rows < 20)
  for scores in (whole, parts):
    scores.finish(people)
  one, other = whole.compute('standard'), parts.compute('standard')
  assert one == other
  intervals = whole.intervals(people)
  assert intervals == parts.intervals(people)
  assert intervals.keys() == measures.MEASURES.keys()
  assert all(
    low <= one[name] <= high for name, (low, high) in intervals.items()
  )
  assert intervals['l1'] == bootstrap.interval(
    values['l1'], people, bootstrap.weighted_mean
  )
  assert one['l1'] == values['l1'].mean(dtype=np.float64)
  for name, without in (('l1_hole', 2), ('lid_error', 1)):
    expected = np.delete(values[name], without).mean()
    assert one[name] == pytest.approx(expected)
  assert one['sharpness'] == np.median(np.delete(values['sharpness'], 2))
  assert one[measures.IRISES] == np.nanmedian(_distances(values))
  own, strangers = (
    values[f'identity_{name}'] for name in ('reference', 'stranger')
  )
  assert one[measures.AUC] == np.mean(own[:, None] > strangers[None])
  assert 0.2 < one[measures.CLASSIFIER] < 0.8


def test_the_file_has_a_line_a_picture_and_gaps_where_nothing_is(tmp_path):
  values = _values(4)
  model, other = collect.Scores(), collect.Scores()
  model.add(values, np.arange(4), np.array([True, True, True, False]))
  some = {name: values[name] for name in ('l1', 'there', 'crops')}
  other.add(some, np.arange(4), np.ones(4, bool))
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


def _batch(truth, painted, mask):
  boxes, there = masks.hole_boxes(mask)
  arrays = {'truth': truth, 'painted': painted, 'mask': mask}
  arrays |= {'boxes': boxes, 'there': there}
  return {name: jnp.asarray(array) for name, array in arrays.items()}


def test_pixels_of_a_batch():
  rng = np.random.default_rng(0)
  truth, painted = rng.integers(0, 256, (2, 3, 64, 64, 3), np.uint8)
  mask = np.zeros((3, 64, 64, 1), bool)
  mask[:2, 20:40, 10:50] = True
  found = collect.compare(
    'shrinking', collect.Networks(), _batch(truth, painted, mask)
  )
  assert found['there'].tolist() == [[True, False]] * 2 + [[False, False]]
  np.testing.assert_array_equal(
    found['l1'], metrics.l1_per_image(truth, painted)
  )
  # Crops of the box, true and painted.
  part = truth[0, 20:40, 10:50].astype(float).mean(axis=(0, 1))
  crop = np.asarray(found['crops'])[0, 0, 0].astype(float).mean(axis=(0, 1))
  np.testing.assert_allclose(crop, part, atol=6)


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


def test_lpips_is_that_of_the_eye_strips_and_of_the_holes():
  rng = np.random.default_rng(1)
  truth = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
  painted, mask = truth.copy(), np.zeros((2, 64, 64, 1), bool)
  painted[1, 20:36] = 255 - painted[1, 20:36]
  mask[:, 20:36, 10:26] = mask[:, 20:36, 40:56] = True
  eyes = np.float32([[[20, 28], [44, 28]]] * 2)
  batch = _batch(truth, painted, mask) | {
    'eyes': jnp.asarray(eyes),
    'irises': jnp.zeros((2, 2, 64, 64), jnp.uint8),
    **dict.fromkeys(('rows', 'has_truth', 'has_stranger'), jnp.ones(2, bool)),
  }
  config, alexnet = config_lib.make('gan', 'tiny', resolution=64), _alexnet()
  assert 'lpips' not in collect.score_batch(config, collect.Networks(), batch)
  networks = collect.Networks(alexnet=alexnet)
  found = collect.score_batch(config, networks, batch)
  corners = warp.corners_of_eyes(jnp.asarray(eyes))
  truth, painted = (
    jnp.asarray(x, jnp.float32) / 127.5 - 1 for x in (truth, painted)
  )
  expected = lpips.distance(
    alexnet, *(lpips.strips(x, corners) for x in (truth, painted))
  )
  assert found['lpips'][0] == found['lpips_hole'][0] == 0
  np.testing.assert_allclose(found['lpips'], expected, rtol=1e-4)
  # Four times as large, by the first pixel of each: index over scale.
  holes = []
  for left in (10, 40):
    one, other = (
      inception_features.cut_out(
        127.5 * (x + 1), jnp.int32([[left, 20, left + 16, 36]] * 2), 64
      )
      for x in (truth, painted)
    )
    holes.append(lpips.distance(alexnet, one / 127.5 - 1, other / 127.5 - 1))
  np.testing.assert_allclose(
    found['lpips_hole'], (holes[0] + holes[1]) / 2, rtol=1e-4
  )


def test_what_is_missing_is_named():
  scores = collect.Scores()
  values = _values(5)
  values['identity_stranger'][:] = np.nan
  scores.add(values, np.arange(5), np.ones(5, bool))
  reasons = scores.skipped(set())
  assert reasons.keys() == {
    *(measures.CLASSIFIER, measures.AUC, measures.RATIO, 'identity_stranger'),
    *('l1_hole_swapped', 'iris_delta_e_swapped', 'code_distance_swapped'),
  }
  assert '--masks' in reasons[measures.CLASSIFIER]
  assert '--face-landmarker' in reasons['iris_delta_e_swapped']
  reasons = scores.skipped(measures.NEEDS)
  assert 'at least 8 people' in reasons[measures.CLASSIFIER]
  assert reasons['l1_hole_swapped'] == measures.NO_STRANGER
  assert reasons[measures.AUC] == measures.NO_STRANGER
  nothing = collect.Scores()
  assert set(nothing.skipped(measures.NEEDS).values()) == {measures.NO_TRUTH}
