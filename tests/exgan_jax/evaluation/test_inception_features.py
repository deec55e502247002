"""Hole crops for the network, and metrics of its features."""

import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax.evaluation import inception, inception_features
from exgan_jax.evaluation.inception_features import (
  Distribution,
  Extractor,
  cut_out,
)
from exgan_jax.evaluation.metrics import frechet_sampling
from exgan_jax.evaluation.metrics.frechet import Gaussian, frechet_distance
from exgan_jax.models import masks


def test_crops_are_resized_like_whole_images():
  rng = np.random.default_rng(0)
  pictures = rng.integers(0, 256, (3, 64, 50, 3), np.uint8)
  boxes = [[0, 0, 50, 64], [10, 20, 45, 31], [49, 63, 50, 64]]
  boxes = np.array(boxes, np.int32)
  found = cut_out(pictures, boxes)
  for picture, (left, top, right, bottom), resized in zip(
    pictures, boxes, found, strict=True
  ):
    part = jnp.asarray(picture[None, top:bottom, left:right], jnp.float32)
    np.testing.assert_allclose(
      resized, inception.resize(part)[0], atol=2e-3, rtol=0
    )


def test_boxes_around_holes():
  mask = np.zeros((4, 20, 30, 1), bool)
  mask[0, 3:8, 20:25] = mask[0, 4:9, 2:12] = True
  mask[1, 3:8, 2:12] = mask[1, 5:9, 10:15] = True  # They touch.
  # Of three the two largest.
  mask[2, 0, 0] = mask[2, 5:9, 3:6] = mask[2, 12:19, 10:29] = True
  boxes, there = masks.hole_boxes(mask)
  assert there.sum(axis=1).tolist() == [2, 1, 2, 0] and there[1, 0]
  assert boxes[0].tolist() == [[2, 4, 12, 9], [20, 3, 25, 8]]
  assert boxes[1, 0].tolist() == [2, 3, 15, 9]
  assert boxes[2].tolist() == [[3, 5, 6, 9], [10, 12, 29, 19]]
  # Missing holes have a box of one pixel.
  assert (boxes[3] == [0, 0, 1, 1]).all() and (boxes[1, 1] == boxes[3, 0]).all()


def _found(count, seed, shift=0.0):
  rng = np.random.default_rng(seed)
  size = (count, 3)
  features = rng.normal(shift, 1, (*size, inception.FEATURES))
  both = [
    x.astype(np.float32) for x in (features, rng.normal(size=(*size, 12)))
  ]
  return {
    '': tuple(x[:, 0] for x in both),
    '_hole': tuple(x[:, 1:] for x in both),
  }


def _distribution(found, counted, has_hole, batch_size, number=None):
  rows = np.arange(len(counted))
  seen = Distribution(number or len(rows))
  for start in range(0, len(rows), batch_size):
    part = rows[start : start + batch_size]
    values = {
      kind: tuple(x[part] for x in both) for kind, both in found.items()
    }
    seen.add(values, part, counted[part], has_hole[part])
  return seen


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
  monkeypatch.setattr(frechet_sampling, 'RESAMPLES', 3)


def _network(verified=True):
  return Extractor(None, verified, 'of nothing')


def _pair(count, number=None):
  """Returns statistics of originals, and results, all with two holes."""
  everything = np.ones(count, bool), np.ones((count, 2), bool)
  real = _distribution(_found(count, 0), *everything, 8).gaussians
  return real, _distribution(_found(count, 1), *everything, 8, number)


@pytest.mark.parametrize('batch_size', [1, 7, 64])
def test_only_counted_images_count_in_any_batch_size(batch_size):
  counted = np.arange(30) % 7 != 3
  has_hole = np.stack([np.arange(30) % 2 == 0, np.arange(30) % 5 != 0], axis=1)
  one, other = _found(30, 0), _found(30, 1, 0.2)
  real = _distribution(one, counted, has_hole, 30).gaussians
  seen = _distribution(other, counted, has_hole, batch_size)
  people = np.arange(30) // 3
  values, intervals, skipped = seen.metrics(real, _network(), people)
  for kind, keep in (('', counted), ('_hole', counted[:, None] & has_hole)):
    true, made = (
      Gaussian.from_values(
        x[kind][0][keep].reshape(-1, inception.FEATURES),
        np.ones(keep.sum(), bool),
      )
      for x in (one, other)
    )
    expected = frechet_distance(true, made)
    assert values[f'fid{kind}'] == pytest.approx(expected, rel=1e-12)
    low, high = intervals[f'fid{kind}']
    assert low < expected < high
    assert values[f'inception_score{kind}'] > 1
    assert values[f'fid{kind}_infinity'] is None
    assert '4,000 images' in skipped[f'fid{kind}_infinity']


def test_enough_images_have_a_limit(monkeypatch):
  monkeypatch.setattr(inception_features, 'ENOUGH_FOR_LIMIT', 20)
  monkeypatch.setattr(frechet_sampling, 'SMALLEST', 10)
  real, seen = _pair(40)
  values, _, _ = seen.metrics(real, _network(), np.arange(40))
  assert values['fid_infinity'] < values['fid']


def test_features_of_very_many_are_not_kept():
  real, kept = _pair(12)
  _, many = _pair(12, inception_features.KEPT + 1)
  one, _, _ = kept.metrics(real, _network(), np.arange(12))
  other, intervals, skipped = many.metrics(real, _network(), np.arange(12))
  assert one['fid'] == other['fid'] and not intervals
  assert '20,000' in skipped['fid_infinity']


def test_unverified_weights_give_no_fid():
  real, seen = _pair(12)
  values, intervals, skipped = seen.metrics(
    real, _network(verified=False), np.arange(12)
  )
  for kind in ('', '_hole'):
    assert values[f'fid{kind}'] is values[f'inception_score{kind}'] is None
    assert {f'fid{kind}', f'inception_score{kind}'} <= skipped.keys()
    assert values[f'frechet_distance{kind}_unverified'] > 0
    assert values[f'inception_score{kind}_unverified'] > 1
  assert all(name.endswith('_unverified') for name in intervals)


def test_no_images_and_no_weights_are_reasons():
  nothing = np.zeros(4, bool), np.ones((4, 2), bool)
  seen = _distribution(_found(4, 0), *nothing, 4)
  values, intervals, skipped = seen.metrics(
    seen.gaussians, _network(), np.arange(4)
  )
  assert set(values.values()) == {None} and not intervals
  assert values.keys() == skipped.keys()
  _, _, skipped = seen.metrics(seen.gaussians, None, np.arange(4))
  assert '--inception' in skipped['fid_hole']
