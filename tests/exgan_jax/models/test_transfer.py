"""The transfer network and its closed form, from a batch to a painted eye."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax import config as config_lib
from exgan_jax.evaluation import baselines
from exgan_jax.models import masks, networks, shading, transfer, warp
from exgan_jax.models.inputs import eye_corners, make_scene, whole
from exgan_jax.models.paint import make_paint_step
from exgan_jax.models.transfer import Fields
from exgan_jax.training import state
from tfds_celeb_id.synth_id import renderer

SIDE = 64
CONFIG = config_lib.make(
  'transfer',
  'tiny',
  **{'resolution': SIDE, 'batch_size': 2},
  **{'generator_width': 4, 'discriminator_width': 4},
)
HEADS = ('flow', 'low', 'colour', 'full')
_paint = jax.jit(make_paint_step(CONFIG))


def _drawn(person, scene):
  return renderer.render(
    renderer.sample_person(1, person),
    renderer.sample_scene(1, person, scene),
    SIDE,
  )


def _batch():
  batch = {'valid': np.ones(2, bool)}
  for scene, (name, prefix) in enumerate(
    (('image', ''), ('reference', 'reference_'))
  ):
    drawn = [_drawn(person, scene) for person in (3, 4)]
    batch[name] = np.stack([each.image for each in drawn])
    for points in ('eyes', 'corners'):
      found = np.stack([getattr(each, points) for each in drawn]) - 0.5
      batch[prefix + points] = found.astype(np.float32)
    batch[f'{prefix}boxes'] = np.full((2, 2, 2), (16, 13), np.float32)
  return jax.tree.map(jnp.asarray, batch)


def _hole(batch):
  return np.asarray(masks.hole_masks(batch['eyes'], batch['boxes'], SIDE)) > 0


def _inputs(batch=None):
  return make_scene(CONFIG, batch or _batch(), {}).band.inputs


def _fields(inputs, **changed):
  b, h, w, _ = inputs.image.shape
  zero = {
    'flow': (h // 4, w // 4, 2),
    'brightness': (h // 8, w // 8, 1),
    'colour': (h // 16, w // 16, 3),
    'contrast': (h // 8, w // 8, 1),
    'paint': (h, w, 3),
  }
  made = {name: jnp.zeros((b, *shape)) for name, shape in zero.items()}
  return Fields(**{**made, 'blend': jnp.ones((b, h, w, 1)), **changed})


def _model(scale=0.0, blend=None, seed=0):
  """Before training; with a scale its heads are random."""
  model = state.model_of(state.init_state(CONFIG))
  keys = iter(jax.random.split(jax.random.key(seed), 8))
  heads = {
    head: {
      name: scale * jax.random.normal(next(keys), array.shape)
      for name, array in model.generator[head].items()
    }
    for head in HEADS
  }
  if blend is not None:
    # A channel for each pixel of a cell, and three of paint after each.
    heads['full']['bias'] = heads['full']['bias'].at[::4].set(blend)
  return dataclasses.replace(model, generator=model.generator | heads)


def test_an_untrained_network_blends_the_closed_form():
  inputs, model = _inputs(), _model()
  painted, fields = networks.make_generator(CONFIG)(model.generator, inputs)
  for name in ('flow', 'brightness', 'colour', 'contrast', 'paint'):
    assert not getattr(fields, name).any(), name
  blend = 1 / (1 + np.exp(-3.0))
  np.testing.assert_allclose(fields.blend, blend, rtol=1e-6)
  # The rest of the high band is missing.
  moved = warp.sample(inputs.reference, transfer.positions(inputs))
  high = moved - shading.blur(moved, 5 / 128 * SIDE)
  expected = transfer.closed_form(inputs) - (1 - blend) * high
  np.testing.assert_allclose(painted, expected, atol=1e-5)


def test_without_blending_it_equals_the_baseline():
  batch = _batch()
  painted = np.asarray(_paint(_model(blend=30.0), batch)) * 255
  hole = _hole(batch)
  host = jax.tree.map(np.asarray, batch)
  clone = baselines.reference_clone(host, hole[..., 0])
  assert clone.dtype == np.uint8
  np.testing.assert_array_equal(
    np.where(hole, 0, clone), np.where(hole, 0, host['image'])
  )
  # The baseline fills the whole picture, the network only the band.
  apart = np.abs(painted - clone)[np.broadcast_to(hole, clone.shape)]
  assert apart.mean() < 1 and apart.max() < 5
  assert np.abs(painted - host['image'])[:, hole[0, ..., 0]].mean() > 10
  # An untrained network drops 5 % of the high band.
  untrained = np.asarray(_paint(_model(), batch)) * 255
  assert 0.1 < np.abs(untrained - painted).max() < 8


EYES = {
  'level': [(20, 30), (44, 31)],
  'beyond the band': [(20, 12), (44, 50)],
  'at the upper edge': [(20, 4), (44, 3)],
  'at the lower edge': [(20, 60), (44, 62)],
  'outside': [(-20, 30), (90, 30)],
}


@pytest.mark.parametrize('eyes', EYES.values(), ids=EYES)
def test_known_pixels_are_kept_and_hidden_ones_ignored(eyes):
  batch = _batch()
  batch['eyes'] = jnp.float32([eyes, eyes])
  batch['corners'] = jnp.full((2, 4, 2), jnp.nan)
  model = _model(scale=0.3)
  painted = np.asarray(_paint(model, batch))
  assert np.isfinite(painted).all()
  hole = _hole(batch)
  image = np.asarray(batch['image'])
  np.testing.assert_array_equal(
    np.where(hole, image, np.round(painted * 255)), image
  )
  for hidden in (0 * image, 255 - image):
    other = batch | {'image': jnp.asarray(np.where(hole, hidden, image))}
    np.testing.assert_array_equal(_paint(model, other), painted)


def test_edge_rows_of_the_band_are_repeated():
  batch = _batch()
  batch['eyes'] = jnp.float32([EYES['beyond the band']] * 2)
  scene = make_scene(CONFIG, batch, {})
  # Rows 15 to 46, around the middle of the eyes at 31.
  np.testing.assert_array_equal(scene.band.top, [15, 15])
  painted = np.asarray(_paint(_model(), batch))
  for x in range(14, 27):
    for row in range(7, 15):
      np.testing.assert_array_equal(painted[:, row, x], painted[:, 15, x])


def test_the_band_is_pasted_to_its_rows():
  batch = _batch()
  scene = make_scene(CONFIG, batch, {})
  image = batch['image'].astype(jnp.float32) / 127.5 - 1
  back = np.asarray(whole(image, scene, scene.image))
  for i, top in enumerate(np.asarray(scene.band.top)):
    rows = slice(top, top + SIDE // 2)
    np.testing.assert_array_equal(back[i, rows], image[i, rows])
  assert scene.image.shape == (2, SIDE // 2, SIDE, 3)


@pytest.mark.parametrize('painted', [(True, True), (True, False)])
def test_holes_are_at_the_misplaced_lids(painted):
  batch = _batch()
  misplaced = jnp.broadcast_to(jnp.float32([3, -2]), (2, 4, 2))
  lids = jnp.float32([(0.3, 0.2), (0, 0)])
  changed = {
    **{'misplaced': misplaced, 'lids': lids},
    'painted': jnp.array([painted] * 2),
  }
  scene = make_scene(CONFIG, batch | changed, {})
  each = masks.lid_masks(batch['corners'] + misplaced, lids, SIDE)
  each = np.asarray(each) * np.array(painted)[:, None, None]
  top = int(scene.band.top[0])
  np.testing.assert_array_equal(
    scene.mask[0, ..., 0], each[0].max(axis=0)[top : top + SIDE // 2]
  )
  # Boxes are misplaced too.
  boxes = masks.hole_masks(
    batch['eyes'] + misplaced[:, :2], batch['boxes'], SIDE
  )
  top = int(scene.band.top[1])
  np.testing.assert_array_equal(scene.mask[1], boxes[1, top : top + SIDE // 2])
  # The loss uses the true corners.
  down = jnp.stack([jnp.zeros(2), scene.band.top.astype(jnp.float32)], axis=-1)
  np.testing.assert_allclose(
    scene.band.corners, batch['corners'] - down[:, None], atol=1e-5
  )


def test_a_constant_flow_moves_the_eyes():
  inputs = _inputs()
  flow = jnp.broadcast_to(jnp.float32([2.5, -1.25]), (2, 8, 16, 2))
  shift = jnp.einsum('bij,j->bi', inputs.matrix[..., :2], flow[0, 0, 0])
  moved = dataclasses.replace(
    inputs, matrix=inputs.matrix.at[..., 2].add(shift)
  )
  np.testing.assert_allclose(
    transfer.compose(inputs, _fields(inputs, flow=flow)),
    transfer.closed_form(moved),
    atol=1e-4,
  )


def test_effect_of_each_field():
  inputs = _inputs()
  plain = _fields(inputs)
  kept = transfer.compose(inputs, plain)
  no_blend = dataclasses.replace(plain, blend=0 * plain.blend)
  low = transfer.compose(inputs, no_blend)
  for changed, expected in (
    ({'brightness': 0.2}, kept + 0.2),
    ({'colour': -0.1}, kept - 0.1),
    ({'contrast': np.log(1.4)}, low + 1.4 * (kept - low)),
    ({'blend': 0.25, 'paint': 0.4}, 0.25 * kept + 0.75 * (low + 0.4)),
  ):
    fields = {
      name: jnp.full_like(getattr(plain, name), value)
      for name, value in changed.items()
    }
    composed = transfer.compose(inputs, dataclasses.replace(plain, **fields))
    np.testing.assert_allclose(composed, expected, atol=1e-5)


def test_no_gradient_flows_through_the_shading():
  inputs = _inputs()

  def total(reference):
    changed = dataclasses.replace(inputs, reference=reference)
    moved = warp.sample(reference, transfer.positions(changed))
    return transfer.ring_shading(changed, moved).sum()

  assert not jax.grad(total)(inputs.reference).any()


def _losses(inputs, fields, corners, reference_corners):
  return transfer.regularization(inputs, fields, corners, reference_corners)[1]


def test_the_corner_loss_is_the_distance_of_corners():
  scene = make_scene(CONFIG, _batch(), {})
  inputs, corners = scene.band.inputs, scene.band.corners
  # Reference corners that fit the matrix exactly.
  there = warp.apply(inputs.matrix, corners)
  errors = []
  for shift in (0.0, 1.0, 2.0):
    flow = jnp.full_like(_fields(inputs).flow, shift)
    terms = _losses(inputs, _fields(inputs, flow=flow), corners, there)
    errors.append(float(terms['corner_error']))
    # A constant flow costs a little.
    variation = 0.02 * shift / (12 / 128 * SIDE)
    np.testing.assert_allclose(terms['field_variation'], variation, atol=1e-6)
    assert float(terms['painted_fraction']) == 0
  # Relative to the side; smoothed below a thousandth of a pixel.
  expected = np.array([0, 1, 2]) * np.sqrt(2) / SIDE
  np.testing.assert_allclose(errors, expected, atol=1e-4)


def test_the_corner_loss_samples_the_flow_at_corners():
  scene = make_scene(CONFIG, _batch(), {})
  inputs = scene.band.inputs
  # The flow at (x, y) is (x, y) / 8.
  cells = warp.grid(SIDE // 8, SIDE // 4)[None] * 4 + 1.5
  flow = jnp.broadcast_to(cells / 8, (2, *cells.shape[1:]))
  there = warp.apply(inputs.matrix, scene.band.corners * 1.125)
  terms = _losses(inputs, _fields(inputs, flow=flow), scene.band.corners, there)
  assert float(terms['corner_error']) < 1e-4


def test_unknown_corners_are_estimated_in_both_pictures():
  batch = _batch()
  batch['corners'] = batch['corners'].at[0, 2, 1].set(jnp.nan)
  corners, others = eye_corners(batch)
  for found, prefix in ((corners, ''), (others, 'reference_')):
    guess = warp.corners_of_eyes(batch[f'{prefix}eyes'])
    np.testing.assert_array_equal(found[0], guess[0])
    np.testing.assert_array_equal(found[1], batch[f'{prefix}corners'][1])


@pytest.mark.parametrize(
  'shape', [(2, 3, 5, 2), (2, 1, 2, 3), (2, 3, 1, 1), (1, 1, 1, 1)]
)
def test_variation_is_the_mean_difference_of_neighbors(shape):
  field = np.random.default_rng(0).normal(size=shape)
  expected = sum(
    np.abs(np.diff(field, axis=i)).mean() for i in (1, 2) if shape[i] > 1
  )
  found = transfer.variation(jnp.asarray(field))
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_fields_are_float32_and_bounded(dtype):
  config = dataclasses.replace(CONFIG, compute_dtype=dtype)
  painted, fields = networks.make_generator(config)(
    _model(scale=20.0).generator, _inputs()
  )
  assert painted.dtype == jnp.float32
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(fields))
  assert 5 < float(jnp.abs(fields.flow).max()) <= 12 / 128 * SIDE
  assert 0.4 < float(jnp.abs(fields.contrast).max()) <= 0.5
  assert 0 <= float(fields.blend.min()) < float(fields.blend.max()) <= 1
  assert float(jnp.abs(fields.paint).max()) <= 1
