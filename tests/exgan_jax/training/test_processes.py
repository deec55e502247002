"""Training in several processes: equal results, kills and preemption."""

import os
import random
import signal
import time

import jax
import numpy as np
import pytest
from chaos import FLAGS, chaos, in_order
from processes import Run, free_port, is_free

from exgan_jax import config as config_lib
from exgan_jax.runtime import processes, sharding
from exgan_jax.training import state

pytestmark = pytest.mark.slow

# Bounds of relative distances. Rounding depends on the CPU and the number of
# devices. Measured for initial parameters that differ in the last bit: the
# gradients change by 5e-7, or 6e-4 if a value crosses a kink. Averaging the
# gradients of two half batches instead changes them by 2.6e-3 (generator) and
# 0.14 (discriminator).
GRADIENTS = 1e-3
# After 20 steps: at most 5e-4 in the losses and 1.5e-3 in the parameters; with
# half batches 3.3e-2 and 4.9e-2.
LOSSES, PARAMETERS = 1e-2, 3e-2


def _slurm():
  """The environment of a step of two tasks on one node."""
  # JAX takes the port from the job's number: one of the last 4,096.
  lowest = 2**16 - 2**12
  job = str(random.choice([n for n in range(2**12) if is_free(lowest + n)]))

  def environment(index):
    return {
      **{'SLURM_JOB_ID': job, 'SLURM_STEP_NODELIST': '127.0.0.1'},
      **{'SLURM_NTASKS': '2', 'SLURM_STEP_NUM_NODES': '1'},
      **{'SLURM_PROCID': str(index), 'SLURM_LOCALID': str(index)},
    }

  return environment


def _relative(ours, theirs):
  pairs = [
    (np.float64(a), np.float64(b))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
  ]
  apart = sum(np.sum((a - b) ** 2) for a, b in pairs)
  return np.sqrt(apart / sum(np.sum(b**2) for _, b in pairs))


def _first_gradients(run):
  """Returns Adam's first moments after the first step, 0.1 of the gradient.

  Parameters would not do: Adam's first step does not depend on the scale of the
  gradient, even if that is only a rounding error.
  """
  return {
    'generator': run.state(1).generator_optimizer[0].mu,
    # Trained from the second step on, after the warm-up.
    'discriminator': run.state(2).discriminator_optimizer[0].mu,
  }


def test_devices_and_processes_train_the_same_model(synth_data, tmp_path):
  flags = FLAGS | {
    **{'data_dir': synth_data, 'batch_size': 16, 'steps': 20},
    **{'warmup_steps': 1, 'checkpoint_every': 1, 'checkpoints_to_keep': 20},
  }
  starts = {
    'one device': {},
    'eight devices, fsdp': {'devices': 8, 'fsdp': 4},
    'two processes of Slurm, fsdp': {
      **{'processes': 2, 'devices': 4, 'fsdp': 4},
      'environment': _slurm(),
    },
  }
  runs = {}
  for name, start in starts.items():
    runs[name] = Run(tmp_path / name.replace(' ', '-'), flags)
    runs[name].finish(runs[name].start(**start))
  first = runs.pop('one device')
  lines, trained = first.lines(), first.state()
  gradients = _first_gradients(first)
  batches = in_order(first.batches(), 16)
  for name, run in runs.items():
    assert in_order(run.batches(), 16) == batches, name
    for network, ours in _first_gradients(run).items():
      apart = _relative(ours, gradients[network])
      assert apart < GRADIENTS, (name, network)
    for ours, theirs in zip(run.lines(), lines, strict=True):
      for key in ('l1_hole', 'adversarial_loss', 'discriminator_loss'):
        if key in theirs:
          assert ours[key] == pytest.approx(theirs[key], rel=LOSSES), name
    ended = run.state()
    for network in ('generator', 'discriminator', 'average'):
      apart = _relative(getattr(ended, network), getattr(trained, network))
      assert apart < PARAMETERS, (name, network)


def test_kills_and_preemption_do_not_change_the_result(synth_data, tmp_path):
  plan = [(2, 'tell one'), (2, 'kill one')]
  assert chaos(tmp_path, synth_data, plan, random.Random(0)) < 1e-5


def test_missing_processes_are_named(synth_data, tmp_path):
  run = Run(tmp_path, FLAGS | {'data_dir': synth_data})
  address = f'127.0.0.1:{free_port()}'
  (process,) = run.start(
    coordinator=address, num_processes=3, barrier_timeout=2
  )
  assert process.wait(timeout=120) in (134, -signal.SIGABRT)
  last = run.log().splitlines()[-1]
  assert last.startswith('exgan: process 0: process 1, 2 did not start in time')
  assert not run.workdir.exists()


def test_processes_with_different_flags_stop(synth_data, tmp_path):
  run = Run(tmp_path, FLAGS | {'data_dir': synth_data})
  address = f'127.0.0.1:{free_port()}'
  both = [
    run.start(
      index=index, coordinator=address, num_processes=2, log_every=1 + index
    )[0]
    for index in range(2)
  ]
  run.finish(both, codes=(2,))
  assert 'configurations are not the same in all processes' in run.log(0)


def test_state_is_split_along_its_longest_axis():
  config = config_lib.make('reference', 'tiny', batch_size=2, fsdp=2)
  mesh = sharding.make_mesh(2, 2)
  made = state.create_state(config, mesh)
  whole = state.create_state(config, sharding.make_mesh(2))
  sizes = []
  for ours, theirs in zip(
    jax.tree.leaves(made), jax.tree.leaves(whole), strict=True
  ):
    np.testing.assert_array_equal(ours, theirs)
    part = ours.addressable_shards[0].data
    assert part.size in (ours.size, ours.size // 2)
    assert ours.size < sharding.SMALLEST_SPLIT or part.size < ours.size
    sizes.append((part.nbytes, ours.nbytes))
  mine, all_of_it = map(sum, zip(*sizes, strict=True))
  assert mine < 0.6 * all_of_it


def test_sigterm_ends_a_run_in_one_process(synth_data, tmp_path):
  run = Run(tmp_path, FLAGS | {'data_dir': synth_data, 'steps': 10**6})
  (process,) = run.start(warmup_steps=10**6)
  deadline = time.monotonic() + 300
  while '"step": 3' not in _text(run.workdir / 'metrics.jsonl'):
    assert process.poll() is None and time.monotonic() < deadline, run.log()
    time.sleep(0.05)
  os.kill(process.pid, signal.SIGTERM)
  assert process.wait(timeout=60) == processes.PREEMPTED
  last = run.lines()[-1]['step']
  assert int(run.state().step) == last
  assert f'preempted: saved at step {last}' in run.log()


def _text(path):
  return path.read_text() if path.exists() else ''


def test_a_failing_process_does_not_wait_for_others(synth_data, tmp_path):
  run = Run(tmp_path, FLAGS | {'data_dir': synth_data})
  address = f'127.0.0.1:{free_port()}'
  cluster = {'coordinator': address, 'num_processes': 2}

  def environment(rank):
    return {'FAIL_AT': '7'} if rank else {}

  both = [
    run.start(index=index, environment=environment, **cluster)[0]
    for index in range(2)
  ]
  assert both[1].wait(timeout=120) == 2
  assert 'exgan: damaged on purpose' in run.log(1)
  assert both[0].wait(timeout=60) in (processes.LOST, 134, -signal.SIGABRT)
