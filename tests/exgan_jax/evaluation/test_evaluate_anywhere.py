"""The same results on any number of devices, and from two processes."""

import csv
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from exgan_jax.evaluation import results as results_lib
from exgan_jax.training.loop import train

pytestmark = pytest.mark.slow

SCRIPT = pathlib.Path(__file__).with_name('evaluation_process.py')


@pytest.fixture(scope='module')
def run(make_config, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('run')
  config = make_config('gan', workdir, resolution=32, steps=1)
  train(config)
  return config


def _start(run, devices, batch_size, output, *more):
  """Starts a process.

  XLA has as many threads as devices or cores. Rounding depends on the number of
  threads, so it is the same for all.
  """
  flags = f'--xla_force_host_platform_device_count={devices}'
  environment = os.environ | {'XLA_FLAGS': flags, 'NPROC': '8'}
  return subprocess.Popen(
    [
      *(sys.executable, str(SCRIPT), run.workdir, run.data_dir),
      *(str(batch_size), str(output), *map(str, more)),
    ],
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def _finish(process):
  out, errors = process.communicate(timeout=300)
  assert process.returncode == 0, errors
  return out


def _free_port():
  with socket.socket() as server:
    server.bind(('127.0.0.1', 0))
    return server.getsockname()[1]


def test_devices_and_processes_change_nothing(run, tmp_path):
  paths = {}
  for devices, batch_size in ((1, 7), (2, 64), (8, 1)):
    paths[devices] = tmp_path / f'{devices}.json'
    out = _finish(_start(run, devices, batch_size, paths[devices]))
    # Not a multiple of any batch size.
    assert out.splitlines()[-1] == f'168 pictures, {devices} devices'
  port = _free_port()
  paths['processes'] = tmp_path / 'processes.json'
  # Five images per process and batch; the last batch has 5 and 3.
  both = [
    _start(run, 1, 10, paths['processes'], port, index) for index in range(2)
  ]
  for process in both:
    out = _finish(process)
    assert out.splitlines()[-1] == '168 pictures, 2 devices'
  first, *others = (results_lib.load(path) for path in paths.values())
  assert first.metrics['fid'] > 0 and first.metrics['inception_score'] > 1
  for other in others:
    assert other.metrics == pytest.approx(first.metrics, abs=1e-9)
    for name, interval in first.intervals['model'].items():
      # Intervals of Fréchet distances have half the digits.
      exact = {'rel': 1e-6} if name.startswith('fid') else {'abs': 1e-9}
      found = other.intervals['model'][name]
      assert found == pytest.approx(interval, **exact), name
  first, *others = (_table(path) for path in paths.values())
  for other in others:
    np.testing.assert_allclose(other, first, rtol=0, atol=1e-9)


def _table(path):
  """Returns the values of each image."""
  with path.with_suffix('.csv').open(newline='') as file:
    _, *lines = csv.reader(file)
  return np.array([line[3:] for line in lines], float)
