"""Hole crops for the network, and metrics of its features."""

import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax.errors import InputError
from exgan_jax.evaluation import inception, inception_features
from exgan_jax.evaluation.inception_features import (
  Distribution,
  Extractor,
  cut_out,
)
from exgan_jax.evaluation.metrics import frechet_sampling
from exgan_jax.evaluation.metrics.frechet import Gaussian, frechet_distance
from exgan_jax.evaluation.metrics.kernel_distance import kernel_distance
from exgan_jax.evaluation.metrics.neighbors import precision_and_recall
from exgan_jax.models import masks


def test_crops_are_resized_like_whole_images():
  rng = np.random.default_rng(0)
  pictures = rng.integers(0, 256, (3, 64, 50, 3), np.uint8)
  boxes = [[0, 0, 50, 64], [10, 20, 45, 31], [49, 63, 50, 64]]
  boxes = np.array(boxes, np.int32)
  found = cut_out(pictures, boxes, inception.SIDE)
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
  real = _distribution(_found(count, 0), *everything, 8, number).statistics()
  return real, _distribution(_found(count, 1), *everything, 8, number)


@pytest.mark.parametrize('batch_size', [1, 7, 64])
def test_only_counted_images_count_in_any_batch_size(batch_size):
  counted = np.arange(30) % 7 != 3
  has_hole = np.stack([np.arange(30) % 2 == 0, np.arange(30) % 5 != 0], axis=1)
  one, other = _found(30, 0), _found(30, 1, 0.2)
  real = _distribution(one, counted, has_hole, 30).statistics()
  seen = _distribution(other, counted, has_hole, batch_size)
  people = np.arange(30) // 3
  values, intervals, skipped = seen.metrics(real, _network(), people)
  for kind, keep in (('', counted), ('_hole', counted[:, None] & has_hole)):
    true, made = (
      x[kind][0][keep].reshape(-1, inception.FEATURES) for x in (one, other)
    )
    expected = frechet_distance(
      *(Gaussian.from_values(x, np.ones(len(x), bool)) for x in (true, made))
    )
    assert values[f'fid{kind}'] == pytest.approx(expected, rel=1e-12)
    low, high = intervals[f'fid{kind}']
    assert low < expected < high
    known = (
      *(values[f'kid{kind}'], values[f'kid{kind}_std']),
      *(values[f'precision{kind}'], values[f'recall{kind}']),
    )
    assert known == kernel_distance(true, made) + precision_and_recall(
      true, made
    )
    assert values[f'u_ids{kind}'] is values[f'p_ids{kind}'] is None
    assert '1,025 images' in skipped[f'p_ids{kind}']
  assert values['inception_score'] > 1


def test_enough_images_have_discriminative_scores(monkeypatch):
  monkeypatch.setattr(inception_features, 'SEPARABLE', 10)
  real, seen = _pair(12)
  values, _, _ = seen.metrics(real, _network(), np.arange(12))
  # Fewer vectors than dimensions are always separable.
  assert values['u_ids'] == values['p_ids'] == 0


def test_features_of_very_many_are_not_kept():
  real, kept = _pair(12)
  sums, many = _pair(12, inception_features.KEPT + 1)
  one, _, _ = kept.metrics(real, _network(), np.arange(12))
  other, intervals, skipped = many.metrics(sums, _network(), np.arange(12))
  assert one['fid'] == pytest.approx(other['fid'], rel=1e-12) and not intervals
  assert one['kid'] is not None and other['kid'] is None
  assert '10,000' in skipped['kid']


def test_unverified_weights_have_names_of_their_own():
  real, seen = _pair(12)
  values, intervals, skipped = seen.metrics(
    real, _network(verified=False), np.arange(12)
  )
  for name in ('fid', 'fid_hole', 'kid_hole', 'precision', 'inception_score'):
    assert values[name] is None and name in skipped
  for name in ('frechet_distance', 'frechet_distance_hole', 'inception_score'):
    assert values[f'{name}_unverified'] > 0
  for name in ('kernel_distance_hole', 'inception_score'):
    assert values[f'{name}_unverified_std'] > 0
  assert all(name.endswith('_unverified') for name in intervals)


def test_originals_of_other_images_are_refused():
  real, _ = _pair(12)
  _, seen = _pair(11)
  with pytest.raises(InputError, match='of other images'):
    seen.metrics(real, _network(), np.arange(12))


def test_no_images_and_no_weights_are_reasons():
  nothing = np.zeros(4, bool), np.ones((4, 2), bool)
  seen = _distribution(_found(4, 0), *nothing, 4)
  values, intervals, skipped = seen.metrics(
    seen.statistics(), _network(), np.arange(4)
  )
  assert set(values.values()) == {None} and not intervals
  assert values.keys() == skipped.keys()
  _, _, skipped = seen.metrics(seen.statistics(), None, np.arange(4))
  assert '--inception' in skipped['fid_hole']
