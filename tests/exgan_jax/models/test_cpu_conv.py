"""Fast convolutions equal plain ones, and so do their derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax.models import cpu_conv


def _plain(x, kernel, stride):
  return jax.lax.conv_general_dilated(
    x, kernel, (stride,) * 2, 'SAME', dimension_numbers=cpu_conv.DIMENSIONS
  )


def _doubled(x, kernel):
  return _plain(jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2), kernel, 1)


FOLDED = cpu_conv.convolve_folded, functools.partial(_plain, stride=2)
TO_FEW = cpu_conv.convolve_to_few, functools.partial(_plain, stride=1)
PAIRS = cpu_conv.convolve_pairs, _doubled


@pytest.mark.parametrize(
  ('convolutions', 'shape', 'taps', 'channels'),
  [
    *((FOLDED, (2, 8, 12, 3), taps, 4) for taps in (2, 3, 5)),
    *((FOLDED, (1, 2, 2, 1), taps, 4) for taps in (2, 3, 5)),
    *((TO_FEW, (2, 5, 8, 3), taps, 3) for taps in (3, 5)),
    *((PAIRS, shape, 3, 4) for shape in ((2, 4, 6, 3), (1, 1, 2, 1))),
  ],
)
def test_values_and_second_derivatives(convolutions, shape, taps, channels):
  rng = np.random.default_rng(taps)
  x = rng.normal(size=shape).astype(np.float32)
  kernel = rng.normal(size=(taps, taps, shape[-1], channels))

  @functools.partial(jax.jit, static_argnums=0)
  def both(convolve, x, kernel):
    def penalty(x, kernel):  # Like R1, of a curved function.
      slope = jax.grad(lambda x: jnp.sum(jnp.sin(convolve(x, kernel))))(x)
      return jnp.sum(slope**2)

    slopes = jax.grad(penalty, argnums=(0, 1))
    return convolve(x, kernel), slopes(x, kernel)

  found, expected = (
    both(convolve, x, kernel.astype(np.float32)) for convolve in convolutions
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max()
    ),
    found,
    expected,
  )


def test_tpus_repeat_pixels_and_others_do_not():
  x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5))
  traced = jax.jit(
    lambda x: cpu_conv.convolve_doubled(x, kernel, (1, 1), 'SAME')
  ).trace(x)
  taps = {
    platform: 'tensor<2x2x2x20xf32>'
    in traced.lower(lowering_platforms=(platform,)).as_text()
    for platform in ('cpu', 'cuda', 'tpu')
  }
  assert taps == {'cpu': True, 'cuda': True, 'tpu': False}


@pytest.mark.parametrize(
  ('channels', 'strides', 'mark'),
  [(8, (2, 2), 'tensor<1x4x4x4xf32>'), (3, (1, 1), 'stablehlo.dot_general')],
)
def test_other_forms_are_for_cpus(channels, strides, mark):
  texts = _programs(8, channels, strides)
  assert mark in texts['cpu']
  assert mark not in texts['cuda'] + texts['tpu']


@pytest.mark.parametrize(
  ('side', 'channels', 'strides', 'dilation'),
  [(9, 8, (2, 2), 1), (8, 8, (1, 1), 1), (8, 3, (1, 1), 2)],
)
def test_what_has_no_other_form_is_plain(side, channels, strides, dilation):
  text = _programs(side, channels, strides, dilation)['cpu']
  assert 'stablehlo.convolution' in text
  assert 'transpose' not in text


def _programs(side, channels, strides, dilation=1):
  """What `convolve` is for each platform."""
  kernel = jnp.ones((3, 3, 1, channels))
  options = {
    'rhs_dilation': (dilation, dilation),
    'dimension_numbers': cpu_conv.DIMENSIONS,
  }
  traced = jax.jit(
    lambda x: cpu_conv.convolve(x, kernel, strides, 'SAME', **options)
  ).trace(jnp.ones((1, side, side, 1)))
  return {
    platform: traced.lower(lowering_platforms=(platform,)).as_text()
    for platform in ('cpu', 'cuda', 'tpu')
  }
