"""Shapes and behavior of the networks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from exgan_jax import config as config_lib
from exgan_jax.models import networks as state_lib
from exgan_jax.models.generator import CodeInjection
from exgan_jax.models.inputs import Scene, discriminator_input, generator_input

SHRUNK = {
  'resolution': 32,
  'generator_width': 4,
  'discriminator_width': 4,
  'compressor_width': 4,
  'code_size': 6,
}
TINY = config_lib.make('reference', 'tiny', **SHRUNK)


def _config(preset, **fields):
  return config_lib.make(preset, 'tiny', **{**SHRUNK, **fields})


def _encoder(config):
  if config.exemplar != 'code':
    return {}
  return state_lib.init_params(
    state_lib.make_encoder(config), jax.random.key(7)
  )


def _scene(config, batch=2):
  rng = np.random.default_rng(0)
  side = config.resolution
  exemplar_channels = 4 if config.exemplar == 'image' else 0

  def noise(*shape):
    return jnp.asarray(rng.uniform(-1, 1, shape), jnp.float32)

  code_size = 2 * config.code_size if config.exemplar == 'code' else 0
  mask = jnp.zeros((batch, side, side, 1)).at[:, 8:20, 6:26].set(1.0)
  return Scene(
    image=noise(batch, side, side, 3),
    mask=mask,
    weight=mask,
    eyes=jnp.asarray([[[10.0, 14.0], [22.0, 14.0]]] * batch),
    exemplar=noise(batch, side, side, exemplar_channels),
    code=noise(batch, code_size),
  )


def _made(config, make):
  network = make(config)
  params = state_lib.init_params(network, jax.random.key(0))
  return network, params


@pytest.mark.parametrize(
  'config, channels',
  [
    (_config('gan'), 4),
    (_config('reference'), 8),
    (_config('reference', compute_dtype='bfloat16'), 8),
    (_config('code'), 4),
    (_config('code', compute_dtype='bfloat16'), 4),
  ],
)
def test_generator_paints_float32_in_range(config, channels):
  generator, params = _made(config, state_lib.make_generator)
  picture, *code = generator_input(config, _scene(config))
  painted = generator(params, picture, *code)
  assert picture.shape == (2, 32, 32, channels)
  assert painted.shape == (2, 32, 32, 3)
  assert painted.dtype == jnp.float32
  assert float(jnp.abs(painted).max()) <= 1.0
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))


def test_the_generator_does_not_see_the_hole():
  scene = _scene(TINY)
  other = dataclasses.replace(
    scene, image=jnp.where(scene.mask > 0, -scene.image, scene.image)
  )
  for a, b in zip(
    jax.tree.leaves(generator_input(TINY, scene)),
    jax.tree.leaves(generator_input(TINY, other)),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)


def test_the_receptive_field_covers_the_hole():
  generator, params = _made(TINY, state_lib.make_generator)
  (picture,) = generator_input(TINY, _scene(TINY, batch=1))

  def center(x):
    return generator(params, x)[0, 13, 15].sum()

  seen = jnp.abs(jax.grad(center)(picture)[0]).sum(axis=-1) > 0
  assert bool(seen[:, 4:28].all())


def test_the_generator_uses_the_whole_code():
  config = _config('code')
  generator, params = _made(config, state_lib.make_generator)
  picture, code = generator_input(config, _scene(config))

  def total(code):
    return generator(params, picture, code).sum()

  for slope in jax.tree.leaves(jax.grad(total)(code)):
    assert bool((jnp.abs(slope) > 0).all())


def test_a_code_is_injected_at_its_eye():
  layer = CodeInjection(2, 6, 3, dtype=jnp.float32, rngs=nnx.Rngs(0))
  code = jnp.asarray([[1.0, 2.0, 3.0, 0.0, 0.0, 0.0]])
  centers = jnp.asarray([[[4.0, 5.0], [12.5, 8.0]]])
  zeros = jnp.zeros((1, 16, 16, 2))
  drawn = np.array(layer(zeros, code, centers))[0]
  left = (code[0, :3] @ layer.left.kernel[...]).reshape(3, 3, 2)
  np.testing.assert_allclose(drawn[4:7, 3:6], left, rtol=1e-5, atol=1e-6)
  drawn[4:7, 3:6] = 0.0
  assert not drawn.any()
  # The other eye is between two pixels, which get half of the map each.
  other = np.asarray(layer(zeros, code[:, ::-1], centers))[0]
  right = (code[0, 2::-1] @ layer.right.kernel[...]).reshape(3, 3, 2)
  spread = np.zeros((3, 4, 2))
  spread[:, :3] += right / 2
  spread[:, 1:] += right / 2
  np.testing.assert_allclose(other[7:10, 11:15], spread, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  'preset, channels, codes',
  [('gan', 3, 0), ('reference', 7, 0), ('code', 3, 24)],
)
def test_the_discriminator_uses_all_inputs(preset, channels, codes):
  config = _config(preset)
  discriminator, params = _made(config, state_lib.make_discriminator)
  scene = _scene(config)
  seen = discriminator_input(config, scene, _encoder(config), scene.image)
  shapes = [(2, 32, 32, channels), (2, 2, 16, 16, 3), (2, codes)]
  assert [part.shape for part in seen] == shapes
  logits, pull = jax.vjp(lambda *seen: discriminator(params, *seen), *seen)
  assert logits.shape == (2,) and logits.dtype == jnp.float32
  to_picture, to_crops, to_codes = pull(jnp.ones(2))
  # Every channel of the picture, each eye and each number of the codes.
  assert bool((jnp.abs(to_picture).sum(axis=(0, 1, 2)) > 0).all())
  assert bool((jnp.abs(to_crops).sum(axis=(0, 2, 3, 4)) > 0).all())
  assert bool((jnp.abs(to_codes).sum(axis=0) > 0).all())


def test_the_code_discriminator_sees_the_code_of_the_picture():
  config = _config('code')
  scene, encoder = _scene(config), _encoder(config)
  codes = [
    discriminator_input(config, scene, encoder, image)[2]
    for image in (scene.image, -scene.image)
  ]
  np.testing.assert_array_equal(codes[0][:, :12], scene.code)
  np.testing.assert_array_equal(codes[1][:, :12], scene.code)
  assert bool((codes[0][:, 12:] != codes[1][:, 12:]).all())


def test_the_eye_discriminator_returns_logits_of_patches():
  config = _config('transfer')
  discriminator, params = _made(config, state_lib.make_discriminator)
  scene = _scene(config)
  (crops,) = discriminator_input(config, scene, {}, scene.image)
  logits = discriminator(params, crops)
  # Two eyes of 16 x 16 pixels, one patch per 4 x 4 pixels.
  assert crops.shape == (2, 2, 16, 16, 7)
  assert logits.shape == (2, 2 * 4 * 4) and logits.dtype == jnp.float32
  # Logits depend on all channels of both crops, of their own picture only.
  slopes = jax.grad(lambda x: discriminator(params, x)[0].sum())(crops)
  seen = jnp.abs(slopes).sum(axis=(2, 3)) > 0
  assert bool(seen[0].all()) and not bool(seen[1].any())


def test_codes_are_normalized_and_eyes_share_an_encoder():
  config = _config('compressor')
  encoder = state_lib.make_encoder(config)
  params = state_lib.init_params(encoder, jax.random.key(0))
  crops = jnp.asarray(
    np.random.default_rng(0).uniform(-1, 1, (3, 2, 8, 8, 3)), jnp.float32
  )
  codes = encoder(params, crops)
  assert codes.shape == (3, 2, 6)
  np.testing.assert_allclose((codes**2).mean(axis=-1), 1.0, rtol=1e-4)
  swapped = encoder(params, crops[:, ::-1])
  np.testing.assert_allclose(codes, swapped[:, ::-1], rtol=1e-4, atol=1e-5)


def test_the_compressor_has_one_decoder_per_side():
  config = _config('compressor')
  compressor, params = _made(config, state_lib.make_generator)
  crops = jnp.ones((1, 2, 8, 8, 3)) * 0.5
  drawn = compressor(params, crops)
  assert drawn.shape == crops.shape and drawn.dtype == jnp.float32
  assert bool((drawn[:, 0] != drawn[:, 1]).any())
  other = params | {'left': params['right']}
  again = compressor(other, crops)
  np.testing.assert_array_equal(again[:, 0], drawn[:, 1])
