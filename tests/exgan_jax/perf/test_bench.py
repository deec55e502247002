"""What is measured, on a shrunk configuration."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax import config
from exgan_jax.cli import main
from exgan_jax.data import train_batches
from exgan_jax.models import inputs as inputs_lib
from exgan_jax.perf import bench, device_rates, profiling
from exgan_jax.runtime import compilation, sharding
from exgan_jax.training import log as log_lib
from exgan_jax.training import state as state_lib
from exgan_jax.training import step_program

FLAGS = [
  'bench', '--size=tiny', '--resolution=32', '--batch-size=8', '--seconds=0.1',
  '--generator-width=2', '--discriminator-width=2',
]  # fmt: skip


def test_the_contract_is_written(synth_data, tmp_path, capsys):
  output, trace = tmp_path / 'new' / 'bench.json', tmp_path / 'trace'
  flags = [f'--data-dir={synth_data}', f'--profile={trace}']
  assert main([*FLAGS, *flags, f'--output={output}']) == 0
  found = json.loads(output.read_text())
  median = found['step_ms_median'] / 1e3
  assert found['images_per_second'] == pytest.approx(8 / median)
  assert found['tflops_per_second'] == pytest.approx(
    found['flops_per_step'] / median / 1e12
  )
  assert found['peak_fraction'] == pytest.approx(
    found['tflops_per_second'] / found['peak_tflops_per_second']
  )
  for name in (
    'compile_seconds', 'peak_memory_bytes', 'input_images_per_second',
    'train_images_per_second', 'bytes_per_step', 'dispatch_ms_median',
  ):  # fmt: skip
    assert found[name] > 0
  assert found['skipped'] == {}
  shares = [operation['share'] for operation in found['operations']]
  assert shares == sorted(shares, reverse=True)
  assert 0 < sum(shares) <= 1 + 1e-9
  assert list(trace.rglob('*.xplane.pb'))
  said = capsys.readouterr().out
  assert f'batch 8, on {found["device"]}' in said
  assert found['operations'][0]['name'] in said


def test_without_data_the_step_alone_is_timed(capsys):
  assert main([*FLAGS, '--preset=code']) == 0
  assert 'input     not timed: no --data-dir' in capsys.readouterr().out


def test_operations_are_those_of_the_program():
  # Twice the pictures are twice the work; Adam's is the same.
  def flops(batch_size):
    shape = config.make(
      size='tiny', resolution=32, batch_size=batch_size * jax.device_count()
    )
    mesh = sharding.make_mesh(shape.batch_size)
    step = step_program.jitted_step(shape, mesh)
    inputs = step_program.abstract_batch(shape, mesh)
    return bench.flops(
      step.trace(state_lib.abstract_state(shape, mesh), inputs)
    )

  assert flops(2) / flops(1) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--seconds=0'], '--seconds must be positive'),
    (['--data-dir=nowhere'], 'no data set synth_id in nowhere'),
    (['--batch-size=0'], '--batch-size must be from 1 to'),
  ],
)
def test_bad_input_is_one_line(flags, message, capsys):
  assert main([*FLAGS, *flags]) == 2
  error = capsys.readouterr().err
  assert message in error
  assert len(error.splitlines()) == 1


def test_a_random_batch_is_like_a_real_one(synth_data):
  shape = config.make(
    data_dir=str(synth_data), resolution=32, batch_size=8, size='tiny'
  )
  drawn, real = (
    bench.random_batch(shape),
    next(train_batches.train_batches(shape)),
  )
  signature = {name: (x.shape, x.dtype) for name, x in drawn.items()}
  assert signature == {name: (x.shape, x.dtype) for name, x in real.items()}
  # All eyes are in the picture, and all holes have a place.
  mask = inputs_lib.make_scene(shape, jax.tree.map(jnp.asarray, drawn), {}).mask
  assert (np.asarray(mask).sum(axis=(1, 2, 3)) > 0).all()


def test_a_rate_is_the_work_over_its_time(monkeypatch):
  monkeypatch.setattr(device_rates, 'seconds_of', lambda call: 0.5)
  device = jax.devices()[0]
  rate = device_rates.matrix_rate(jnp.dtype('float32'), device)
  assert rate == 2 * 2 * 2048**3 / 0.5
  assert device_rates.memory_rate(device) == 2 * 4 * 2**26 / 0.5


def test_time_is_that_of_all_steps(monkeypatch):
  # Steps of 0.125 and 0.375 s on a clock that nothing else moves.
  clock = [0.0]
  monkeypatch.setattr(bench.time, 'perf_counter', lambda: clock[0])

  def make(seconds):
    def step(state, batch):
      del batch
      clock[0] += seconds
      return state + 1, jnp.zeros(())

    return step

  steps = [make(0.125), make(0.375)]
  after, timing = bench.time_steps(steps, 0, {}, seconds=3.0)
  assert timing.median == pytest.approx(0.25)
  assert timing.dispatch == pytest.approx(0.25)
  assert timing.steps == 12
  assert after == 18


def test_a_trace_of_nothing_tells_nothing(tmp_path):
  with profiling.traced(tmp_path, 1) as operations:
    pass
  assert operations == []


class Sink:
  """Takes what a log writes."""

  def __init__(self):
    self.values = {}

  def write(self, step, values):
    self.values[step] = values

  def update(self):
    pass

  def set_postfix_str(self, text, refresh):
    pass


@pytest.mark.parametrize(('wait', 'is_told'), [(0.5, True), (0.05, False)])
def test_waiting_for_pictures_is_told(wait, is_told, monkeypatch, caplog):
  clock = [0.0]
  monkeypatch.setattr(log_lib.time, 'perf_counter', lambda: clock[0])

  def batches():
    while True:
      clock[0] += wait
      yield {}

  caplog.set_level('INFO', 'exgan_jax')
  sink, source = Sink(), batches()
  log = log_lib.Log(config.make(log_every=20), 0, sink, sink)
  for step in range(1, 61):
    log.wait_for(source)
    clock[0] += 1.0 - wait
    log.write(step, {'l1_hole': jnp.ones(())}, last=False)
  assert sink.values[40]['input_wait_fraction'] == pytest.approx(wait)
  told = [m for m in caplog.messages if 'holds up training' in m]
  assert len(told) == is_told
  if is_told:
    assert 'for 50 % of the time' in told[0]


def test_programs_are_kept_in_the_cache_of_the_user(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  name = 'jax_compilation_cache_dir'
  before = getattr(jax.config, name)
  try:
    jax.config.update(name, None)
    compilation.enable_cache()
    folder = getattr(jax.config, name)
    assert folder.startswith(f'{tmp_path}/exgan_jax/compiled/')
    # Who has a folder keeps it.
    jax.config.update(name, 'elsewhere')
    compilation.enable_cache()
    assert getattr(jax.config, name) == 'elsewhere'
  finally:
    jax.config.update(name, before)
