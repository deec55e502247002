"""The PyTorch peer computes the step that it is timed against."""

import dataclasses
import importlib
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from exgan_jax import config as config_lib
from exgan_jax.models.paint import make_paint_step
from exgan_jax.runtime import sharding
from exgan_jax.training import state
from exgan_jax.training.step import jitted, make_train_step

pytestmark = pytest.mark.slow

torch = pytest.importorskip('torch', reason='the peer is PyTorch')

BENCHMARKS = pathlib.Path(__file__).parent
# They find each other as scripts do.
sys.path.insert(0, str(BENCHMARKS))
peer_worker, torch_networks, torch_peer, torch_step, torch_variants = map(
  importlib.import_module,
  (
    'peer_worker', 'torch_networks', 'torch_peer', 'torch_step',
    'torch_variants',
  ),
)  # fmt: skip

SHRUNK = {
  'resolution': 32, 'generator_width': 4, 'discriminator_width': 4,
  'batch_size': 3, 'adversarial_weight': 0.3, 'gradient_penalty': 0.7,
  'eye_weight': 2.0, 'reconstruction_scales': 2, 'ema_decay': 0.4,
  'gradient_penalty_every': 2,
}  # fmt: skip
STEPS = 3


def _config(preset):
  return config_lib.make(preset, 'tiny', **SHRUNK)


def _batch(seed, size=3):
  """Eyes in the middle, at the border and beyond it, with boxes of any size."""
  rng = np.random.default_rng(seed)
  eyes = np.float32(
    [[[10, 13], [21, 14]], [[1, 2], [30.5, 31]], [[-3, 16]] * 2]
  )
  batch = {'valid': np.ones(size, bool)}
  for name, prefix in (('image', ''), ('reference', 'reference_')):
    batch[name] = rng.integers(0, 256, (3, 32, 32, 3), np.uint8)
    batch[f'{prefix}eyes'] = eyes + rng.uniform(-1, 1, (3, 2, 2)).astype('f4')
    batch[f'{prefix}boxes'] = rng.uniform(3, 14, (3, 2, 2)).astype('f4')
    batch[f'{prefix}corners'] = np.full((3, 4, 2), np.nan, np.float32)
  return {name: value[:size] for name, value in batch.items()}


def _tensors(batch):
  return {name: torch.tensor(value) for name, value in batch.items()}


def _networks(config, start):
  weights = (
    peer_worker.flat(start.generator),
    peer_worker.flat(start.discriminator),
  )
  return torch_step.make_networks(config, *weights)


@dataclasses.dataclass
class Walk:
  """Steps of both: the states, as copies in NumPy, and the metrics."""

  config: config_lib.Config
  start: state.TrainState
  states: list
  metrics: list


@pytest.fixture(scope='module', params=['gan', 'reference'])
def walk(request):
  config = _config(request.param)
  mesh = sharding.make_mesh(config.batch_size, devices=jax.devices()[:1])
  current = state.create_state(config, mesh)
  start = jax.device_get(current)
  step = jitted(config, mesh, make_train_step(config))
  found = Walk(config, start, [], [])
  for i in range(STEPS):
    current, metrics = step(current, sharding.to_device(_batch(i), mesh))
    found.states.append(jax.device_get(current))
    found.metrics.append(jax.device_get(metrics))
  return found


def _close(module, found, tree, tolerance):
  """Each array's error against the largest number that it has."""
  expected = torch_networks.from_jax(module, peer_worker.flat(tree))
  names = [name for name, _ in module.named_parameters()]
  assert sorted(names) == sorted(expected)
  for name, value in zip(names, found, strict=True):
    error = (value.detach() - expected[name]).abs().max()
    assert error <= tolerance * expected[name].abs().max(), name


def _close_metrics(found, expected):
  assert set(found) == set(expected)
  # Mean logits are sums of larger numbers of both signs.
  for name, value in expected.items():
    assert found[name].item() == pytest.approx(value, rel=1e-5, abs=1e-5), name


def test_computes_the_same_steps(walk):
  networks = _networks(walk.config, walk.start)
  trainer = torch_step.Trainer(walk.config, networks)
  moments = []
  for i in range(STEPS):
    _close_metrics(trainer(_tensors(_batch(i))), walk.metrics[i])
    moments.append([
      [
        [each[name].clone() for each in optimizer.state.values()]
        for name in ('exp_avg', 'exp_avg_sq')
      ]
      for optimizer in trainer.optimizers
    ])  # fmt: skip
    for name in ('generator', 'discriminator'):
      module = getattr(networks, name)
      tree = getattr(walk.states[i], name)
      # Adam divides by a root: where a gradient is nearly rounding, so is the
      # update, which is a learning rate of 2e-3 at most. Most are far from it.
      _close(module, module.parameters(), tree, 1e-3)
    average = walk.states[i].average
    _close(trainer.average, trainer.average.parameters(), average, 1e-3)
  # The first moments are a tenth of the gradients and show what the updates
  # hide. Sums of thousands of products in float32, in another order.
  for name, first in zip(
    ('generator', 'discriminator'), moments[0], strict=True
  ):
    adam = getattr(walk.states[0], f'{name}_optimizer')[0]
    _close(getattr(networks, name), first[0], adam.mu, 1e-5)
    _close(getattr(networks, name), first[1], adam.nu, 2e-5)


@pytest.mark.filterwarnings(
  'ignore:.torch.jit.script_method:DeprecationWarning'
)
@pytest.mark.parametrize('walk', ['reference'], indirect=True)
@pytest.mark.parametrize('doubling', ['', '-repeated'])
def test_its_compiler_drops_no_gradient(walk, doubling, monkeypatch):
  """Traced as for `step`, but run as it is: that takes no minutes."""
  compile_step = torch.compile
  monkeypatch.setattr(
    torch, 'compile',
    lambda f, **options: compile_step(f, backend='aot_eager', fullgraph=True),
  )  # fmt: skip
  weights = [
    peer_worker.flat(tree)
    for tree in (walk.start.generator, walk.start.discriminator)
  ]
  trainer = torch_variants.make_trainer(
    walk.config, weights, 'cpu', f'step{doubling}'
  )
  generator, discriminator, metrics = trainer.gradients(_tensors(_batch(0)))
  _close_metrics(metrics, walk.metrics[0])
  for name, grads in (
    ('generator', generator), ('discriminator', discriminator),
  ):  # fmt: skip
    adam = getattr(walk.states[0], f'{name}_optimizer')[0]
    module = getattr(trainer.networks, name)
    _close(module, [0.1 * grad for grad in grads], adam.mu, 1e-5)


def test_paints_the_same_picture(walk):
  model = state.model_of(walk.start)
  batch = _batch(0, 1)
  expected = jax.jit(make_paint_step(walk.config))(model, batch)
  networks = _networks(walk.config, walk.start)
  with torch.inference_mode():
    found = torch_step.paint(walk.config, networks.generator, _tensors(batch))
  np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


def test_refuses_what_it_does_not_have():
  with pytest.raises(ValueError, match='has no peer'):
    torch_networks.check(config_lib.make('gan', 'tiny', decay_steps=5))


def _run(*args):
  environment = {
    name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'
  }
  return subprocess.run(
    [sys.executable, BENCHMARKS / 'torch_peer.py', *args],
    env=environment,
    capture_output=True,
    text=True,
    timeout=500,
  )


def test_times_both_in_turn(tmp_path):
  path = tmp_path / 'ratio.json'
  done = _run(
    '--size=tiny', '--resolution=16', '--batch-size=2', '--device=cpu',
    '--preset=gan', '--rounds=2', '--steps=1', '--calls=2', '--eager',
    '--caches', f'--output={path}',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  figures = json.loads(path.read_text())
  assert figures['device'] == 'cpu'
  assert (figures['preset'], figures['size']) == ('gan', 'tiny')
  assert (figures['resolution'], figures['batch_size']) == (16, 2)
  assert figures['compute_dtype'] == 'float32'
  for name in ('exgan', 'torch'):
    assert figures[f'{name}_images_per_second'] > 0
    assert figures[f'{name}_inference_ms'] > 0
    assert figures['compile_seconds'][name] > 0
    assert figures['versions'][name]
  assert len(figures['ratio_per_round']) == 2
  assert figures['ratio'] == pytest.approx(
    np.median(figures['ratio_per_round'])
  )
  assert figures['inference_ratio'] > 0
  assert figures['torch_compiled'] == 'eager'
  assert figures['metrics_difference'] < 1e-3
  assert [each['batch_size'] for each in figures['tried']] == [2]
  assert 'ratio by round' in done.stdout


@pytest.mark.parametrize(
  'wrong, word',
  [
    (['--size=huge'], 'huge'),
    (['--preset=code'], 'code'),
    (['--resolution=50'], 'resolution'),
    (['--batch-size=8,0'], '0'),
    (['--variants=fast'], 'fast'),
    (['--output=/nowhere/at/all.json'], '/nowhere'),
  ],
)
def test_says_in_a_line_what_is_wrong(
  tmp_path, wrong, word, capsys, monkeypatch
):
  args = [
    'torch_peer.py',
    f'--output={tmp_path}/a.json',
    '--device=cpu',
    *wrong,
  ]
  monkeypatch.setattr(sys, 'argv', args)
  with pytest.raises(SystemExit) as stopped:
    torch_peer.main()
  assert stopped.value.code == 2
  message = capsys.readouterr().err
  assert message.count('\n') == 1
  assert word in message
