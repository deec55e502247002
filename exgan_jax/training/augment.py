"""Data augmentation on the device.

For the transfer model, pictures are mirrored, holes vary from the lids to the
data set's boxes, and eye corners are misplaced like those of a landmark network
on closed eyes. With `self_reference`, pictures and references are relit,
recolored, blurred and warped independently, so that a single portrait makes a
training pair.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from exgan_jax.config import Config
from exgan_jax.models import shading, warp

Batch = dict[str, jax.Array]

# Folded into the seed, like the keys in `state`.
KEY = 2
# Standard deviations along x and y by which both eyes together are misplaced,
# relative to the distance of the outer corners, for visible and for hidden
# eyes. MediaPipe places hidden eyes too high, by this mean of 65 portraits with
# erased eyes.
_SEEN, _HIDDEN, _TOO_HIGH = (0.010, 0.010), (0.02, 0.055), (0.0, -0.035)
_HIDDEN_SHARE = 0.15
# The same for each eye, relative to both eyes, and for each corner.
_EACH_EYE, _EACH_CORNER = 0.35, 0.006
# Half axes of lid-shaped holes relative to the distance of the outer corners.
_LOWEST, _HIGHEST = (0.24, 0.15), (0.36, 0.28)
# Share of pairs that are not relit.
_UNCHANGED = 0.35
# Cells of the random field that warps a picture, and its size relative to the
# side.
_CELLS, _WARP = 5, 0.008


def augment(config: Config, batch: Batch, step: jax.Array) -> Batch:
  """Augments a batch of the input pipeline; depends on seed and step only.

  Returns:
    The batch. With `self_reference` its pictures are float32 in [0, 255]. For
    the transfer model it also has `misplaced`, float32 [b, 4, 2], the offset
    from true to detected corners; `trusted`, float32 [b], 1 if it is small;
    `lids`, float32 [b, 2], half axes of lid-shaped holes relative to the
    distance of the outer corners, 0 for box-shaped holes; and `painted`, bool
    [b, 2], the eyes with a lid-shaped hole.
  """
  key = jax.random.fold_in(jax.random.key(config.seed), KEY)
  draws = _Draws(jax.random.fold_in(key, step), len(batch['image']))
  if config.preset == 'transfer':
    batch = _mirrored(batch, draws)
    batch = batch | _holes(batch, draws)
  if config.self_reference:
    # Real pairs often differ little, as in a burst of pictures.
    share = (draws.uniform(1) - _UNCHANGED) / (1.0 - _UNCHANGED)
    light = jnp.maximum(share[:, 0], 0.0)
    is_self = batch['is_self']
    strength = jnp.maximum(light, jnp.where(is_self, 0.3, 0.0))
    batch = batch | _changed(batch, '', light, 0.5 * strength, draws)
    strength *= jnp.where(is_self, 1.0, 0.5)
    batch = batch | _changed(batch, 'reference_', light, strength, draws)
  return batch


class _Draws:
  """Random numbers per picture, taken from two draws.

  One draw per purpose would take half a minute to compile on a CPU.
  """

  def __init__(self, key: jax.Array, batch_size: int):
    keys = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    self._numbers = {
      'normal': jax.random.normal(keys[0], (batch_size, 640)),
      'uniform': jax.random.uniform(keys[1], (batch_size, 16)),
    }
    self._taken = dict.fromkeys(self._numbers, 0)

  def normal(self, *shape: int) -> jax.Array:
    return self._take('normal', shape)

  def uniform(self, *shape: int) -> jax.Array:
    return self._take('uniform', shape)

  def _take(self, kind: str, shape: tuple[int, ...]) -> jax.Array:
    start = self._taken[kind]
    self._taken[kind] = end = start + math.prod(shape)
    part = self._numbers[kind][:, start:end]
    if part.shape[1] < end - start:
      raise ValueError(
        f'too few {kind} numbers: draw more than {part.shape[1]}'
      )
    return part.reshape(-1, *shape)


def _mirrored(batch: Batch, draws: _Draws) -> Batch:
  b, _, width, _ = batch['image'].shape
  flip = draws.uniform(1)[:, 0] < 0.5

  def choose(mirrored: jax.Array, plain: jax.Array) -> jax.Array:
    shape = (b,) + (1,) * (plain.ndim - 1)
    return jnp.where(flip.reshape(shape), mirrored, plain)

  changed = {}
  for prefix in ('', 'reference_'):
    picture = 'image' if not prefix else 'reference'
    changed[picture] = choose(batch[picture][:, :, ::-1], batch[picture])
    boxes = batch[f'{prefix}boxes']
    changed[f'{prefix}boxes'] = choose(boxes[:, ::-1], boxes)
    for name in (f'{prefix}eyes', f'{prefix}corners'):
      points = batch[name]
      x = (width - 1.0) - points[:, ::-1, :1]
      mirrored = jnp.concatenate([x, points[:, ::-1, 1:]], axis=-1)
      changed[name] = choose(mirrored, points)
  return batch | changed


def _holes(batch: Batch, draws: _Draws) -> Batch:
  eyes = batch['eyes']
  # The distance of the outer corners.
  unit = 1.42 * jnp.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=-1)[:, None, None]
  seen, hidden, too_high = (
    jnp.array(x)[None, None] for x in (_SEEN, _HIDDEN, _TOO_HIGH)
  )
  is_hidden = draws.uniform(1, 1) < _HIDDEN_SHARE
  size = jnp.where(is_hidden, hidden, seen)
  each_eye = _EACH_EYE * size * draws.normal(2, 2)
  misplaced = size * draws.normal(1, 2) + jnp.repeat(each_eye, 2, axis=1)
  misplaced += jnp.where(is_hidden, too_high, 0.0)
  misplaced += _EACH_CORNER * draws.normal(4, 2)
  low, high = jnp.array(_LOWEST)[None], jnp.array(_HIGHEST)[None]
  lids = low + draws.uniform(2) * (high - low)
  is_box = draws.uniform(1) < 0.4
  which = draws.uniform(1)
  one_eye = jnp.concatenate([which < 0.92, (which < 0.84) | (which >= 0.92)], 1)
  return {
    'misplaced': unit * misplaced,
    'trusted': 1.0 - is_hidden[:, 0, 0].astype(jnp.float32),
    'lids': jnp.where(is_box, 0.0, lids),
    'painted': one_eye | is_box,
  }


def _relit(picture: jax.Array, strength: jax.Array, draws: _Draws) -> jax.Array:
  """Changes light, color, contrast and sharpness, in [0, 255]."""
  _, height, width, _ = picture.shape
  strength = strength[:, None, None, None]
  unit = jnp.maximum(picture / 255.0, 1e-3)
  unit = unit ** jnp.exp(0.25 * strength * draws.normal(1, 1, 1))
  centered = warp.grid(height, width)[None] / width - 0.5
  slope = 0.35 * draws.normal(1, 1, 2)
  light = jnp.sum(centered * slope, axis=-1, keepdims=True)
  light = light + 0.2 * draws.normal(1, 1, 1) + 0.06 * draws.normal(1, 1, 3)
  unit = unit * jnp.exp(strength * light)
  # 40 % keep their sharpness.
  softness = 1.6 * strength * jnp.maximum(draws.uniform(1, 1, 1) - 0.4, 0.0)
  soft = shading.blur(unit, 0.012 * width)
  unit = unit + jnp.minimum(softness, 0.9) * (soft - unit)
  return 255.0 * jnp.clip(unit, 0.0, 1.0)


def _changed(
  batch: Batch,
  prefix: str,
  light: jax.Array,
  strength: jax.Array,
  draws: _Draws,
) -> Batch:
  """Relights and warps the pictures, or with 'reference_' the references.

  Light and strength, float32 [b] in [0, 1], are those of relighting and of
  warping.
  """
  name = 'image' if not prefix else 'reference'
  picture = _relit(batch[name].astype(jnp.float32), light, draws)
  b, height, width, _ = picture.shape
  eyes, corners = batch[f'{prefix}eyes'], batch[f'{prefix}corners']
  grid = warp.grid(height, width)[None]
  middle = jnp.mean(eyes, axis=1)[:, None, None]
  coarse = draws.normal(_CELLS, _CELLS, 2)
  fine = draws.normal(2 * _CELLS, 2 * _CELLS, 2)

  def enlarged(noise: jax.Array) -> jax.Array:
    return jax.image.resize(noise, (b, height, width, 2), 'cubic')

  linear = 0.06 * draws.normal(2, 2)
  offset = jnp.einsum('bij,bhwj->bhwi', linear, grid - middle)
  offset += 0.03 * width * draws.normal(1, 1, 2)
  offset += _WARP * width * (enlarged(coarse) + 0.4 * enlarged(fine))
  offset *= strength[:, None, None, None]

  def source_of(points: jax.Array) -> jax.Array:
    """Maps points of the old picture to the new one."""
    found = points
    for _ in range(4):
      found = points - warp.sample(offset, found[:, None])[:, 0]
    return found

  return {
    name: warp.sample(picture, grid + offset),
    f'{prefix}eyes': source_of(eyes),
    f'{prefix}corners': source_of(corners),
  }
