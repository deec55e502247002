"""The step against the same mathematics written the long way round."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax import config as config_lib
from exgan_jax import losses, masks, state
from exgan_jax.train_step import (
  discriminator_input,
  generator_input,
  make_paint_step,
  make_scene,
  make_train_step,
)

CONFIG = config_lib.make(
  'reference', 'tiny', resolution=32, generator_width=4,
  discriminator_width=4, batch_size=2, adversarial_weight=0.3,
  gradient_penalty=0.7, generator_learning_rate=1e-3,
  discriminator_learning_rate=2e-3,
)  # fmt: skip


def _batch(seed=0):
  rng = np.random.default_rng(seed)

  def picture():
    return rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)

  eyes = np.asarray([[[10, 13], [21, 14]]] * 2, np.float32)
  boxes = np.asarray([[[8, 6], [7, 9]]] * 2, np.float32)
  return jax.device_put(
    {
      'image': picture(),
      'reference': picture(),
      'eyes': eyes,
      'boxes': boxes,
      'reference_eyes': eyes + 1,
      'reference_boxes': boxes,
      'valid': np.ones(2, bool),
    }
  )


@pytest.fixture(scope='module')
def stepped():
  before = state.init_state(CONFIG)
  # A second step, so that the average and the moments are not at their start.
  step = jax.jit(make_train_step(CONFIG))
  middle, _ = step(before, _batch(0))
  after, metrics = step(middle, _batch(1))
  return middle, after, metrics


@jax.jit
def _gradients(before, batch):
  """Both gradients, each from forward passes of its own."""
  generator = state.make_generator(CONFIG)
  discriminator = state.make_discriminator(CONFIG)
  scene = make_scene(CONFIG, batch)

  def paint(g):
    return masks.composite(
      scene.image, generator(g, generator_input(scene)), scene.mask
    )

  def judge(d, image):
    return discriminator(d, *discriminator_input(CONFIG, scene, image))

  def generator_objective(g):
    painted = paint(g)
    return 0.3 * losses.generator_loss(
      judge(before.discriminator, painted)
    ) + losses.reconstruction_loss(scene.image, painted, scene.mask)

  def discriminator_objective(d):
    painted = paint(before.generator)
    slopes = jax.vmap(
      lambda n: jax.grad(lambda image: judge(d, image)[n])(scene.image)[n]
    )(jnp.arange(2))
    return losses.discriminator_loss(
      judge(d, scene.image), judge(d, painted)
    ) + 0.7 * losses.gradient_penalty(slopes)

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


def test_one_forward_pass_gives_both_networks_their_gradients(stepped):
  before, after, metrics = stepped
  g_gradient, d_gradient = _gradients(before, _batch(1))
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
  norm = np.sqrt(
    sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(g_gradient))
  )
  np.testing.assert_allclose(
    metrics['generator_gradient_norm'], norm, rtol=1e-4
  )


def test_gradients_reach_every_parameter(stepped):
  before, after, _ = stepped
  for name in ('generator', 'discriminator'):
    moved = jax.tree.map(
      lambda a, b: bool((a != b).any()),
      getattr(before, name),
      getattr(after, name),
    )
    assert all(jax.tree.leaves(moved)), moved


def test_the_average_warms_up(stepped):
  before, after, _ = stepped
  decay = 2 / 11  # (1 + step) / (10 + step) at the second step.
  expected = jax.tree.map(
    lambda mean, new: decay * mean + (1 - decay) * new,
    before.average,
    after.generator,
  )
  _assert_trees_close(after.average, expected, rtol=1e-6)
  assert int(after.step) == 2


def test_l1_hole_is_the_error_of_what_was_painted(stepped):
  before, _, metrics = stepped
  batch = _batch(1)
  painted = make_paint_step(CONFIG)(before.generator, batch)
  original = batch['image'].astype(jnp.float32) / 255
  mask = masks.hole_masks(batch['eyes'], batch['boxes'], 32)
  error = float((jnp.abs(painted - original) * mask).sum() / mask.sum() / 3)
  np.testing.assert_allclose(metrics['l1_hole'], error, rtol=1e-5)


def test_painting_keeps_known_pixels_and_needs_no_hidden_ones():
  params = state.init_state(CONFIG).generator
  paint = jax.jit(make_paint_step(CONFIG))
  batch = _batch()
  painted = np.asarray(paint(params, batch))
  hole = np.asarray(masks.hole_masks(batch['eyes'], batch['boxes'], 32)) > 0
  original = np.asarray(batch['image'])
  np.testing.assert_array_equal(
    np.where(hole, original, np.round(painted * 255)), original
  )
  hidden = batch | {'image': jnp.where(hole, 0, original).astype(jnp.uint8)}
  np.testing.assert_array_equal(
    np.where(hole, painted, 0), np.where(hole, paint(params, hidden), 0)
  )


def test_the_non_exemplar_model_ignores_the_reference():
  config = dataclasses.replace(CONFIG, preset='gan', exemplar='none')
  params = state.init_state(config).generator
  paint = jax.jit(make_paint_step(config))
  batch = _batch()
  other = batch | {'reference': 255 - batch['reference']}
  np.testing.assert_array_equal(paint(params, batch), paint(params, other))


def test_the_reference_model_uses_the_reference():
  params = state.init_state(CONFIG).generator
  paint = jax.jit(make_paint_step(CONFIG))
  batch = _batch()
  other = batch | {'reference': 255 - batch['reference']}
  assert bool((paint(params, batch) != paint(params, other)).any())
