"""LPIPS with random weights, against PyTorch's convolutions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax import config as config_lib
from exgan_jax.errors import InputError
from exgan_jax.models import lpips
from exgan_jax.training import state
from exgan_jax.training.step import make_train_step, make_warmup_step

# Of AlexNet's convolutions: inputs, outputs, kernel, stride, padding.
LAYERS = (
  *((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1)),
  *((384, 256, 3, 1, 1), (256, 256, 3, 1, 1)),
)


@pytest.fixture(scope='module')
def arrays():
  random = np.random.default_rng(0)
  found = {}
  for i, (inputs, outputs, kernel, _, _) in enumerate(LAYERS):
    shape = (kernel, kernel, inputs, outputs)
    scale = np.sqrt(2 / (kernel * kernel * inputs))
    found |= {
      f'AlexNet_0/Conv_{i}/kernel': scale * random.normal(size=shape),
      f'AlexNet_0/Conv_{i}/bias': 0.1 * random.normal(size=outputs),
      f'NetLinLayer_{i}/Conv_0/kernel': random.random((1, 1, outputs, 1)),
    }
  return {name: array.astype(np.float32) for name, array in found.items()}


@pytest.fixture(scope='module')
def file(arrays, tmp_path_factory):
  path = tmp_path_factory.mktemp('lpips') / 'weights.npz'
  np.savez(path, **arrays)
  return path


def _pictures(height=80, width=100):
  random = np.random.default_rng(1)
  return random.uniform(-1, 1, (2, 2, height, width, 3)).astype(np.float32)


def _by_torch(torch, arrays, image):
  """The distance of a picture pair [2, h, w, 3] in float64."""
  functional = torch.nn.functional
  mean = torch.tensor([-0.030, -0.088, -0.188]).double()
  deviation = torch.tensor([0.458, 0.448, 0.450]).double()
  x = (torch.tensor(image).double() - mean) / deviation
  x = x.permute(0, 3, 1, 2)
  total = 0.0
  for i, (_, _, _, stride, padding) in enumerate(LAYERS):
    if i in (1, 2):
      x = functional.max_pool2d(x, 3, 2)
    kernel = torch.tensor(arrays[f'AlexNet_0/Conv_{i}/kernel']).double()
    bias = torch.tensor(arrays[f'AlexNet_0/Conv_{i}/bias']).double()
    x = functional.conv2d(
      x, kernel.permute(3, 2, 0, 1), bias, stride=stride, padding=padding
    )
    x = functional.relu(x)
    unit = x / (x.norm(dim=1, keepdim=True) + 1e-10)
    weight = torch.tensor(arrays[f'NetLinLayer_{i}/Conv_0/kernel'][0, 0, :, 0])
    square = (unit[0] - unit[1]) ** 2 * weight.double()[:, None, None]
    total += float(square.sum(dim=0).mean())
  return total


def test_agrees_with_pytorch(arrays, file):
  torch = pytest.importorskip('torch', reason='PyTorch is the other way')
  one, other = _pictures()
  got = lpips.distance(lpips.load(file), jnp.asarray(one), jnp.asarray(other))
  expected = [
    _by_torch(torch, arrays, np.stack(pair))
    for pair in zip(one, other, strict=True)
  ]
  np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_gradients_are_bounded_if_features_vanish(file):
  # Low biases make most features of the first layer 0.
  weights = lpips.load(file)
  name = 'AlexNet_0/Conv_0/bias'
  weights[name] = weights[name] - 6.0
  one, other = _pictures(63, 63)

  def total(image):
    return lpips.distance(weights, image, other, epsilon=1e-2).sum()

  slope = jax.grad(total)(jnp.asarray(one))
  assert np.isfinite(slope).all() and float(jnp.abs(slope).max()) < 1.0


@pytest.mark.parametrize(
  ('name', 'array', 'message'),
  [
    ('AlexNet_0/Conv_1/kernel', None, 'Conv_1/kernel'),
    ('AlexNet_0/Conv_1/bias', np.zeros(191, np.float32), 'Conv_1/bias'),
    ('AlexNet_0/Conv_1/bias', np.zeros(192, np.int32), 'Conv_1/bias'),
    ('AlexNet_0/Conv_1/bias', np.full(192, np.nan, np.float32), 'not finite'),
    ('AlexNet_0/Conv_1/bias', np.array([None] * 192), 'holds no weights'),
    ('NetLinLayer_4/Conv_0/kernel', np.ones((256,), np.float32), 'NetLin'),
  ],
)
def test_other_weights_are_refused(arrays, tmp_path, name, array, message):
  changed = dict(arrays)
  if array is None:
    del changed[name]
  else:
    changed[name] = array
  np.savez(tmp_path / 'weights.npz', **changed)
  with pytest.raises(InputError, match=message) as caught:
    lpips.load(tmp_path / 'weights.npz')
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('make', [make_train_step, make_warmup_step])
def test_a_weight_of_lpips_needs_its_file(make, tmp_path):
  config = config_lib.make('transfer', 'tiny', lpips_weight=0.1)
  with pytest.raises(InputError, match='--lpips-weight needs --lpips'):
    make(config)
  config = config_lib.make(
    'transfer', 'tiny', lpips_weight=0.1, lpips=str(tmp_path / 'none')
  )
  with pytest.raises(InputError, match='cannot read'):
    make(config)


def test_strips_are_aligned():
  # One channel per corner, in a rotated and smaller picture.
  at = np.array(lpips.STRIP) - np.array([100, 40])
  turned = at @ np.array([[0.8, 0.6], [-0.6, 0.8]]) / 3 + np.array([30, 28])
  rows, columns = np.indices((64, 64))
  dots = [
    np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4) for x, y in turned[:3]
  ]
  image = np.stack(dots, axis=-1).astype(np.float32)[None]
  strip = np.asarray(lpips.strips(jnp.asarray(image), jnp.float32([turned])))
  assert strip.shape == (1, *lpips.STRIP_SIZE, 3)
  for channel, (x, y) in enumerate(lpips.STRIP[:3]):
    row, column = np.unravel_index(strip[0, ..., channel].argmax(), (80, 200))
    assert abs(row - y) <= 2 and abs(column - x) <= 2


def test_lpips_is_part_of_the_loss(file):
  from exgan_jax.perf import bench

  config = config_lib.make(
    'transfer',
    'tiny',
    **{'resolution': 32, 'generator_width': 4, 'discriminator_width': 4},
    **{'batch_size': 2, 'lpips': str(file), 'lpips_weight': 1.0},
  )
  without = dataclasses.replace(config, lpips='', lpips_weight=0.0)
  batch = jax.device_put(bench.random_batch(config))
  norms = {}
  for each in (config, without):
    step = jax.jit(make_warmup_step(each))
    _, metrics = step(state.init_state(each), batch)
    norms[each] = float(metrics['generator_gradient_norm'])
    assert ('lpips' in metrics) == (each is config)
    if each is config:
      assert 0 < float(metrics['lpips']) < np.inf
  assert np.isfinite(norms[config]) and norms[config] != norms[without]
