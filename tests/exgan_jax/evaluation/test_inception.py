"""The Inception network against torch-fidelity, and its resize by hand."""

import importlib.util
import pathlib

import jax
import numpy as np
import pytest
from flax import nnx

from exgan_jax.evaluation import inception, inception_weights

pytestmark = pytest.mark.slow

ORACLES = pathlib.Path(__file__).parent / 'oracles'


_spec = importlib.util.spec_from_file_location(
  'random_inception', ORACLES / 'random_inception.py'
)
random_inception = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(random_inception)


@pytest.fixture(scope='module')
def network():
  weights = random_inception.weights(inception_weights.published_shapes())
  structure = nnx.graphdef(inception.abstract())
  state = inception_weights.parameters(weights)
  apply = jax.jit(lambda state, x: nnx.merge(structure, state)(x))
  return lambda pictures: jax.device_get(apply(state, pictures))


def _error(found, expected):
  return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize('i', range(len(random_inception.SIZES)))
def test_agrees_with_torch_fidelity(network, i):
  side = random_inception.SIZES[i][0]
  features, logits = network(random_inception.pictures()[i])
  with np.load(ORACLES / 'inception.npz', allow_pickle=False) as expected:
    assert (
      expected[f'features_{side}'].std() > 1
    )  # Features have not collapsed.
    assert _error(features[:, ::8], expected[f'features_{side}']) < 1e-5
    assert _error(logits[:, ::4], expected[f'logits_{side}']) < 1e-5


def test_the_stored_values_are_torch_fidelitys():
  for name in ('torch', 'torch_fidelity'):
    if not importlib.util.find_spec(name):
      pytest.skip(f'needs {name}')
  import torch

  network = random_inception.torch_fidelity_network()
  pictures = random_inception.pictures()[0]
  with torch.no_grad():
    features, _ = network(torch.from_numpy(np.moveaxis(pictures, -1, 1).copy()))
  with np.load(ORACLES / 'inception.npz', allow_pickle=False) as expected:
    assert _error(features.numpy()[:, ::8], expected['features_128']) < 1e-6


@pytest.mark.parametrize('strides', [1, 2])
@pytest.mark.parametrize('size', [(8, 9), (9, 8)])
def test_a_convolution_without_padding(size, strides):
  conv = inception.Conv(
    3, 4, (3, 3), strides=strides, padding='VALID', rngs=nnx.Rngs(0)
  )
  x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
  expected = jax.lax.conv_general_dilated(
    x,
    conv.conv.kernel[...],
    (strides, strides),
    'VALID',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    precision=jax.lax.Precision.HIGHEST,
  )
  expected = nnx.relu(conv.bn(expected))
  np.testing.assert_allclose(conv(x), expected, rtol=1e-5, atol=1e-6)


def test_resize_does_not_shift_by_half_a_pixel():
  # The last column has no right neighbor.
  image = np.zeros((1, 299, 150, 3), np.float32)
  image[..., :] = (np.arange(150, dtype=np.float32) ** 2)[None, None, :, None]
  found = np.asarray(inception.resize(image))[0, 0, :, 0]
  at = np.arange(299) * np.float32(150 / 299)
  low = np.floor(at).astype(int)
  high = np.minimum(low + 1, 149)
  expected = low**2 + (at - low) * (high**2 - low**2)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-2)
