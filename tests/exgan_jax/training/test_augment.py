"""Random changes of batches: repeatable, in range, and true to the corners."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax import config as config_lib
from exgan_jax.training import augment

SIDE, COUNT = 64, 16
SHRUNK = {'resolution': SIDE, 'batch_size': COUNT}
PLAIN = config_lib.make('transfer', 'tiny', **SHRUNK)
WARPED = config_lib.make('transfer', 'tiny', **SHRUNK, self_reference=1.0)
_augment = functools.partial(jax.jit, static_argnums=0)(augment.augment)


def _batch(seed=0):
  random = np.random.default_rng(seed)
  batch = {'valid': np.ones(COUNT, bool), 'is_self': np.arange(COUNT) % 2 == 0}
  for prefix, name in (('', 'image'), ('reference_', 'reference')):
    batch[name] = random.integers(0, 256, (COUNT, SIDE, SIDE, 3), np.uint8)
    eyes = np.array([(20, 30), (44, 32)]) + random.uniform(-2, 2, (COUNT, 2, 2))
    outwards = np.array([(-6, 0), (5, 1), (-5, 1), (6, 0)])
    batch[f'{prefix}eyes'] = eyes
    batch[f'{prefix}corners'] = np.repeat(eyes, 2, axis=1) + outwards
    batch[f'{prefix}boxes'] = random.uniform(9, 18, (COUNT, 2, 2))
  return {
    k: jnp.asarray(v.astype(np.float32) if v.dtype == np.float64 else v)
    for k, v in batch.items()
  }


@pytest.mark.parametrize('config', [PLAIN, WARPED], ids=['plain', 'warped'])
def test_the_same_step_makes_the_same_batch(config):
  batch = _batch()
  one, same, other = (
    _augment(config, batch, jnp.int32(step)) for step in (3, 3, 4)
  )
  for name in one:
    np.testing.assert_array_equal(one[name], same[name], err_msg=name)
  names = {'image', 'eyes', 'corners', 'misplaced', 'lids', 'painted'}
  for name in names:
    assert (np.asarray(one[name]) != np.asarray(other[name])).any(), name


def _mirrored(batch, i):
  """One row, mirrored by hand."""
  row = {name: np.array(array[i]) for name, array in batch.items()}
  for prefix, name in (('', 'image'), ('reference_', 'reference')):
    row[name] = np.fliplr(row[name])
    for points in ('eyes', 'corners'):
      found = row[prefix + points][::-1].copy()
      found[:, 0] = SIDE - 1 - found[:, 0]
      row[prefix + points] = found
    row[f'{prefix}boxes'] = row[f'{prefix}boxes'][::-1]
  return row


def test_without_self_reference_pictures_are_only_mirrored():
  batch = _batch()
  changed = jax.tree.map(np.asarray, _augment(PLAIN, batch, jnp.int32(0)))
  assert changed['image'].dtype == np.uint8
  flips = 0
  for i in range(COUNT):
    is_plain = (changed['image'][i] == batch['image'][i]).all()
    row = {k: batch[k][i] for k in batch} if is_plain else _mirrored(batch, i)
    flips += not is_plain
    for name, array in row.items():
      np.testing.assert_array_equal(changed[name][i], array, err_msg=name)
  assert 2 <= flips <= COUNT - 2


def test_other_presets_are_not_augmented():
  config = config_lib.make('reference', 'tiny', **SHRUNK)
  batch = _batch()
  same = augment.augment(config, batch, jnp.int32(0))
  assert same.keys() == batch.keys()
  assert all(same[name] is batch[name] for name in batch)


def test_holes_are_in_range():
  steps = [_augment(PLAIN, _batch(), jnp.int32(step)) for step in range(40)]
  batch = {
    name: np.concatenate([np.asarray(step[name]) for step in steps])
    for name in ('eyes', 'misplaced', 'trusted', 'lids', 'painted')
  }
  count = 40 * COUNT
  assert batch['misplaced'].shape == (count, 4, 2)
  assert batch['lids'].shape == batch['painted'].shape == (count, 2)
  assert batch['trusted'].shape == (count,)
  assert batch['painted'].dtype == bool
  assert set(batch['trusted']) == {0.0, 1.0}
  share = 1 - augment._HIDDEN_SHARE
  np.testing.assert_allclose(batch['trusted'].mean(), share, atol=0.06)
  # 40 % are boxes of both eyes, the others ellipses.
  is_box = (batch['lids'] == 0).all(axis=-1)
  assert 0.33 < is_box.mean() < 0.47
  lids = batch['lids'][~is_box]
  assert (lids >= [0.24, 0.15]).all() and (lids <= [0.36, 0.28]).all()
  assert batch['painted'].any(axis=-1).all()
  assert batch['painted'][is_box].all()
  each = batch['painted'][~is_box].mean(axis=0)
  assert (each > 0.85).all() and (each < 0.97).all()
  # Untrusted corners are misplaced by more, and upwards.
  distance = np.linalg.norm(np.diff(batch['eyes'], axis=1)[:, 0], axis=-1)
  part = batch['misplaced'] / (1.42 * distance)[:, None, None]
  trusted = batch['trusted'] > 0
  assert np.abs(part[trusted]).max() < 0.06
  np.testing.assert_allclose(part[trusted].mean(axis=(0, 1)), 0, atol=0.003)
  np.testing.assert_allclose(
    part[~trusted].mean(axis=(0, 1)), [0, -0.035], atol=0.02
  )
  assert part[~trusted].std(axis=0)[:, 1].min() > 0.03


def _dots(points):
  """Black pictures with a bright dot at each point."""
  index = np.arange(SIDE)
  dx = index[None, None, None] - points[..., 0, None, None]
  dy = index[None, None, :, None] - points[..., 1, None, None]
  dots = np.exp(-(dx**2 + dy**2) / 4).max(axis=1)
  pictures = np.repeat(255 * dots[..., None], 3, axis=-1)
  return jnp.asarray(np.round(pictures).astype(np.uint8))


@pytest.mark.parametrize('points', ['corners', 'eyes'])
def test_points_move_with_the_picture(points):
  batch = _batch()
  batch['image'] = _dots(np.asarray(batch[points]))
  batch['reference'] = _dots(np.asarray(batch[f'reference_{points}']))
  rows, columns = np.indices((SIDE, SIDE))
  moved = []
  for step in range(3):
    changed = _augment(WARPED, batch, jnp.int32(step))
    for prefix, name in (('', 'image'), ('reference_', 'reference')):
      assert changed[name].dtype == jnp.float32
      light = np.asarray(changed[name]).mean(axis=-1)
      at = np.asarray(changed[prefix + points])
      moved.append(np.abs(at - np.asarray(batch[prefix + points])).max())
      for picture, places in zip(light, at, strict=True):
        for x, y in places:
          near = np.hypot(columns - x, rows - y) < 4
          if not 4 < x < SIDE - 5 or not 4 < y < SIDE - 5:
            continue
          weight = np.where(near, picture - picture[near].min(), 0) ** 2
          center = [(weight * i).sum() / weight.sum() for i in (columns, rows)]
          np.testing.assert_allclose(center, (x, y), atol=0.8)
  assert max(moved) > 4


def test_changed_pictures_are_in_range_and_differ_in_light():
  batch = _batch()
  gray = jnp.full((COUNT, SIDE, SIDE, 3), 128, jnp.uint8)
  batch |= {'image': gray, 'reference': gray}
  changed = _augment(WARPED, batch, jnp.int32(0))
  for name in ('image', 'reference'):
    picture = np.asarray(changed[name])
    assert picture.min() >= 0 and picture.max() <= 255.001
    means = picture.mean(axis=(1, 2, 3))
    assert means.std() > 10
  # Pictures and references change independently.
  assert np.abs(changed['image'] - changed['reference']).mean() > 10


def test_unknown_corners_stay_unknown():
  batch = _batch()
  unknown = dict.fromkeys(
    ('corners', 'reference_corners'), jnp.full((COUNT, 4, 2), jnp.nan)
  )
  changed = _augment(WARPED, batch | unknown, jnp.int32(0))
  plain = _augment(WARPED, batch, jnp.int32(0))
  for name, array in changed.items():
    if 'corners' in name:
      assert np.isnan(array).all()
    else:
      np.testing.assert_allclose(array, plain[name], rtol=1e-6)
