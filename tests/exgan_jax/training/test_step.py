"""Training steps against a straightforward implementation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax import config as config_lib
from exgan_jax.models import masks, networks, transfer
from exgan_jax.models.inputs import (
  REFERENCE,
  discriminator_input,
  eye_codes,
  generator_input,
  make_scene,
)
from exgan_jax.models.paint import make_paint_step
from exgan_jax.training import augment, losses, state
from exgan_jax.training.step import (
  make_compressor_step,
  make_train_step,
  make_warmup_step,
  penalty_is_due,
)

SHRUNK = {
  **{'resolution': 32, 'generator_width': 4, 'discriminator_width': 4},
  **{'compressor_width': 4, 'code_size': 6, 'batch_size': 2},
  **{'adversarial_weight': 0.3, 'gradient_penalty': 0.7, 'eye_weight': 2.0},
  **{'gradient_penalty_every': 1},
  **{'generator_learning_rate': 1e-3, 'discriminator_learning_rate': 2e-3},
}
CONFIGS = {
  'reference': config_lib.make('reference', 'tiny', **SHRUNK),
  'code': config_lib.make('code', 'tiny', **SHRUNK, perceptual_weight=0.2),
  'lazy': config_lib.make(
    'reference', 'tiny', **SHRUNK | {'gradient_penalty_every': 2}
  ),
  'lazy, between': config_lib.make(
    'reference', 'tiny', **SHRUNK | {'gradient_penalty_every': 3}
  ),
  'transfer': config_lib.make(
    'transfer',
    'tiny',
    **SHRUNK,
    **{'reconstruction_scales': 2, 'reconstruction_weight': 30.0},
    **{'self_reference': 0.5, 'adam_b1': 0.9},
  ),
}
CONFIG = CONFIGS['reference']


def _batch(seed=0):
  rng = np.random.default_rng(seed)

  def picture():
    return rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)

  eyes = np.asarray([[[10, 13], [21, 14]]] * 2, np.float32)
  boxes = np.asarray([[[8, 6], [7, 9]]] * 2, np.float32)
  unknown = np.full((2, 4, 2), np.nan, np.float32)
  return jax.device_put(
    {
      **{'image': picture(), 'eyes': eyes, 'boxes': boxes, 'corners': unknown},
      **{'reference': picture(), 'reference_eyes': eyes + 1},
      **{'reference_boxes': boxes, 'reference_corners': unknown},
      **{'is_self': np.array([True, False]), 'valid': np.ones(2, bool)},
    }
  )


def _init(config):
  if config.exemplar != 'code':
    return state.init_state(config)
  encoder = networks.init_params(
    networks.make_encoder(config), jax.random.key(7)
  )
  return state.init_state(config, encoder)


@pytest.fixture(scope='module', params=CONFIGS)
def stepped(request):
  config = CONFIGS[request.param]
  # Two steps, so that the average and the moments are not initial.
  steps = [
    jax.jit(make_train_step(config, penalty_is_due(config, i))) for i in (1, 2)
  ]
  middle, _ = steps[0](_init(config), _batch(0))
  after, metrics = steps[1](middle, _batch(1))
  assert ('gradient_penalty' in metrics) == penalty_is_due(config, 2)
  return config, middle, after, metrics


def _gradients(config, before, batch):
  """Returns both gradients, each from its own forward passes."""
  generator = networks.make_generator(config)
  discriminator = networks.make_discriminator(config)
  if config.preset == 'transfer':
    batch = augment.augment(config, batch, before.step)
  scene = make_scene(config, batch, before.encoder)

  def paint(g):
    painted = generator(g, *generator_input(config, scene))
    if config.preset == 'transfer':
      painted, fields = painted
      band = scene.band
      extra, _ = transfer.regularization(
        band.inputs, fields, band.corners, band.reference_corners
      )
    else:
      extra = 0.0
    return masks.composite(scene.image, painted, scene.mask), extra

  def judge(d, image):
    seen = discriminator_input(config, scene, before.encoder, image)
    return discriminator(d, *seen)

  def generator_objective(g):
    painted, extra = paint(g)
    loss = 0.3 * losses.adversarial_loss(
      judge(before.discriminator, painted)
    ) + config.reconstruction_weight * losses.reconstruction_loss(
      scene.image, painted, scene.weight, config.reconstruction_scales
    )
    loss += extra
    if config.exemplar == 'code':
      codes = eye_codes(config, before.encoder, painted, scene.eyes)
      loss += 0.2 * losses.perceptual_loss(codes, scene.code)
    return loss

  def discriminator_objective(d):
    painted, _ = paint(before.generator)
    # Averages the logits of a picture if there is one per patch.
    slopes = jax.vmap(
      lambda n: jax.grad(lambda image: judge(d, image)[n].mean())(scene.image)[
        n
      ]
    )(jnp.arange(2))
    # The second step is compared.
    weight = {1: 0.7, 2: 1.4, 3: 0.0}[config.gradient_penalty_every]
    return (
      losses.adversarial_loss(judge(d, scene.image))
      + losses.adversarial_loss(-judge(d, painted))
      + weight * losses.gradient_penalty(slopes)
    )

  return (
    jax.grad(generator_objective)(before.generator),
    jax.grad(discriminator_objective)(before.discriminator),
  )


def _adam(moments, gradient, params, rate):
  """The second step of Kingma and Ba 2015, algorithm 1."""
  adam = moments[0]
  b1, b2, count = CONFIG.adam_b1, CONFIG.adam_b2, 2

  def update(mu, nu, g, p):
    mu, nu = b1 * mu + (1 - b1) * g, b2 * nu + (1 - b2) * g * g
    corrected = jnp.sqrt(nu / (1 - b2**count)) + 1e-8
    return p - rate * (mu / (1 - b1**count)) / corrected

  return jax.tree.map(update, adam.mu, adam.nu, gradient, params)


def _assert_trees_close(got, expected, rtol):
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=2e-6)


def test_gradients_equal_those_of_separate_passes(stepped):
  config, before, after, metrics = stepped
  g_gradient, d_gradient = jax.jit(_gradients, static_argnums=0)(
    config, before, _batch(1)
  )
  norm = np.sqrt(
    sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(g_gradient))
  )
  np.testing.assert_allclose(
    metrics['generator_gradient_norm'], norm, rtol=1e-4
  )
  if config.preset == 'transfer':
    # Its gradient is clipped to a norm of 1.
    assert norm > 1.5
    g_gradient = jax.tree.map(lambda leaf: leaf / norm, g_gradient)
  _assert_trees_close(
    after.generator,
    _adam(before.generator_optimizer, g_gradient, before.generator, 1e-3),
    rtol=1e-3,
  )
  _assert_trees_close(
    after.discriminator,
    _adam(
      before.discriminator_optimizer, d_gradient, before.discriminator, 2e-3
    ),
    rtol=1e-3,
  )


def _moved(before, after):
  return jax.tree.leaves(
    jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
  )


def test_gradients_reach_every_parameter_and_no_frozen_one(stepped):
  config, before, after, _ = stepped
  for name in ('generator', 'discriminator'):
    moved = _moved(getattr(before, name), getattr(after, name))
    assert all(moved), moved
  assert bool(before.encoder) == (config.exemplar == 'code')
  assert not any(_moved(before.encoder, after.encoder))


def test_the_average_warms_up(stepped):
  _, before, after, _ = stepped
  decay = 2 / 11  # (1 + step) / (10 + step) at the second step.
  expected = jax.tree.map(
    lambda mean, new: decay * mean + (1 - decay) * new,
    before.average,
    after.generator,
  )
  _assert_trees_close(after.average, expected, rtol=1e-6)
  assert int(after.step) == 2


def test_l1_hole_is_the_error_of_painted_pictures():
  before = _init(CONFIG)
  batch = _batch(1)
  _, metrics = jax.jit(make_train_step(CONFIG))(before, batch)
  painted = make_paint_step(CONFIG)(state.model_of(before), batch)
  original = batch['image'].astype(jnp.float32) / 255
  mask = masks.hole_masks(batch['eyes'], batch['boxes'], 32)
  error = float((jnp.abs(painted - original) * mask).sum() / mask.sum() / 3)
  np.testing.assert_allclose(metrics['l1_hole'], error, rtol=1e-5)


def test_the_warm_up_trains_the_generator_by_reconstruction():
  before = _init(CONFIG)
  after, metrics = jax.jit(make_warmup_step(CONFIG))(before, _batch())
  assert not any(_moved(before.discriminator, after.discriminator))
  assert all(_moved(before.generator, after.generator))
  alone = dataclasses.replace(CONFIG, adversarial_weight=0.0)
  expected, full = jax.jit(make_train_step(alone))(before, _batch())
  _assert_trees_close(after.generator, expected.generator, rtol=1e-5)
  np.testing.assert_allclose(metrics['l1_hole'], full['l1_hole'], rtol=1e-6)


def test_the_compressor_learns_to_reconstruct_eyes():
  config = config_lib.make('compressor', 'tiny', **SHRUNK)
  before = _init(config)
  batch = _batch()
  step = jax.jit(make_compressor_step(config))
  after, first = step(before, batch)
  assert all(_moved(before.generator, after.generator))
  for _ in range(40):
    after, last = step(after, batch)
  assert float(last['mse_eyes']) < 0.9 * float(first['mse_eyes'])
  drawn = make_paint_step(config)(state.model_of(after), batch)
  far = np.ones((32, 32), bool)
  far[9:19, 6:27] = False  # The crops of 8 pixels.
  original = np.asarray(batch['image'])
  np.testing.assert_array_equal(
    np.round(np.asarray(drawn)[:, far] * 255), original[:, far]
  )


def test_the_learning_rates_decay_to_zero():
  config = dataclasses.replace(CONFIG, decay_steps=2)
  step = jax.jit(make_train_step(config))
  states = [_init(config)]
  for _ in range(3):
    states.append(step(states[-1], _batch())[0])
  for name in ('generator', 'discriminator'):
    first, middle, end, stopped = (getattr(s, name) for s in states)
    assert any(_moved(first, middle)) and any(_moved(middle, end))
    assert not any(_moved(end, stopped))


def _paint(config):
  model = state.model_of(_init(config))
  paint = jax.jit(make_paint_step(config))
  return lambda batch: np.asarray(paint(model, batch))


def test_painting_keeps_known_pixels_and_ignores_hidden_ones():
  paint, batch = _paint(CONFIG), _batch()
  painted = paint(batch)
  hole = np.asarray(masks.hole_masks(batch['eyes'], batch['boxes'], 32)) > 0
  original = np.asarray(batch['image'])
  np.testing.assert_array_equal(
    np.where(hole, original, np.round(painted * 255)), original
  )
  hidden = batch | {'image': jnp.where(hole, 0, original).astype(jnp.uint8)}
  np.testing.assert_array_equal(
    np.where(hole, painted, 0), np.where(hole, paint(hidden), 0)
  )


@pytest.mark.parametrize('preset', ['gan', 'reference', 'code', 'transfer'])
def test_presets_use_the_reference_except_gan(preset):
  paint = _paint(config_lib.make(preset, 'tiny', **SHRUNK))
  batch = _batch()
  other = batch | {'reference': 255 - batch['reference']}
  changed = bool((paint(batch) != paint(other)).any())
  assert changed == (preset != 'gan')


@pytest.mark.parametrize('preset', ['reference', 'code'])
def test_several_references_are_averaged(preset):
  config = config_lib.make(preset, 'tiny', **SHRUNK)
  paint, batch, other = _paint(config), _batch(0), _batch(1)
  names = REFERENCE
  several = batch | {
    name: jnp.stack([batch[name], other[name]], axis=1) for name in names
  }
  alone = [
    paint(batch | {name: source[name] for name in names})
    for source in (batch, other)
  ]
  merged = paint(several)
  assert merged.shape == alone[0].shape
  if preset == 'reference':
    np.testing.assert_allclose(merged, (alone[0] + alone[1]) / 2, atol=1e-6)
  same = batch | {name: jnp.stack([batch[name]] * 2, axis=1) for name in names}
  np.testing.assert_allclose(paint(same), alone[0], atol=1e-5)
  assert not np.allclose(merged, alone[0], atol=1e-4)
