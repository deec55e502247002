"""Shapes and behaviour of the networks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax import config as config_lib
from exgan_jax import state as state_lib
from exgan_jax.train_step import Scene, discriminator_input, generator_input

TINY = config_lib.make(
  'reference', 'tiny', resolution=32, generator_width=4,
  discriminator_width=4, workdir='w', data_dir='d',
)  # fmt: skip


def _scene(config, batch=2):
  rng = np.random.default_rng(0)
  side = config.resolution
  exemplar_channels = 4 if config.exemplar == 'image' else 0

  def noise(*shape):
    return jnp.asarray(rng.uniform(-1, 1, shape), jnp.float32)

  mask = jnp.zeros((batch, side, side, 1)).at[:, 8:20, 6:26].set(1.0)
  return Scene(
    image=noise(batch, side, side, 3),
    mask=mask,
    eyes=jnp.asarray([[[10.0, 14.0], [22.0, 14.0]]] * batch),
    exemplar=noise(batch, side, side, exemplar_channels),
  )


def _parameters(config, make):
  network = make(config)
  return network, state_lib.init_params(network, jax.random.key(0))


@pytest.mark.parametrize('preset, channels', [('gan', 4), ('reference', 8)])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_generator_paints_float32_in_range(preset, channels, dtype):
  config = config_lib.make(
    preset, 'tiny', resolution=32, generator_width=4, compute_dtype=dtype
  )
  generator, params = _parameters(config, state_lib.make_generator)
  inputs = generator_input(_scene(config))
  painted = generator(params, inputs)
  assert inputs.shape == (2, 32, 32, channels)
  assert painted.shape == (2, 32, 32, 3)
  assert painted.dtype == jnp.float32
  assert float(jnp.abs(painted).max()) <= 1.0
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))


def test_what_the_hole_hides_does_not_reach_the_generator():
  scene = _scene(TINY)
  other = dataclasses.replace(
    scene, image=jnp.where(scene.mask > 0, -scene.image, scene.image)
  )
  np.testing.assert_array_equal(generator_input(scene), generator_input(other))


def test_every_pixel_of_the_hole_sees_all_around_it():
  generator, params = _parameters(TINY, state_lib.make_generator)
  inputs = generator_input(_scene(TINY, batch=1))

  def corner(x):
    return generator(params, x)[0, 13, 15].sum()

  seen = jnp.abs(jax.grad(corner)(inputs)[0]).sum(axis=-1) > 0
  assert bool(seen[:, 4:28].all())


@pytest.mark.parametrize('preset, channels', [('gan', 3), ('reference', 7)])
def test_discriminator_returns_a_logit_a_picture(preset, channels):
  config = config_lib.make(preset, 'tiny', resolution=32, discriminator_width=4)
  discriminator, params = _parameters(config, state_lib.make_discriminator)
  scene = _scene(config)
  picture, crops = discriminator_input(config, scene, scene.image)
  logits = discriminator(params, picture, crops)
  assert picture.shape == (2, 32, 32, channels)
  assert crops.shape == (2, 2, 16, 16, 3)
  assert logits.shape == (2,) and logits.dtype == jnp.float32


def test_the_discriminator_sees_image_crops_and_exemplar():
  discriminator, params = _parameters(TINY, state_lib.make_discriminator)
  scene = _scene(TINY)
  picture, crops = discriminator_input(TINY, scene, scene.image)

  def total(picture, crops):
    return discriminator(params, picture, crops).sum()

  to_picture, to_crops = jax.grad(total, argnums=(0, 1))(picture, crops)
  # Every channel of the global branch, and each eye of the local one.
  assert bool((jnp.abs(to_picture).sum(axis=(0, 1, 2)) > 0).all())
  assert bool((jnp.abs(to_crops).sum(axis=(0, 2, 3, 4)) > 0).all())
