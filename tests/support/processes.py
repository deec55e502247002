"""Starts the processes of a run of training, for the tests of several."""

import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import jax
import numpy as np

from exgan_jax import config as config_lib
from exgan_jax.runtime import sharding
from exgan_jax.training.checkpoint import Checkpoints

SCRIPT = pathlib.Path(__file__).with_name('training_process.py')


def free_port():
  """A port of this machine that nobody listens on."""
  with socket.socket() as server:
    server.bind(('127.0.0.1', 0))
    return server.getsockname()[1]


def is_free(port):
  """Whether nobody listens on a port of this machine."""
  with socket.socket() as server:
    try:
      server.bind(('127.0.0.1', port))
    except OSError:
      return False
    return True


@dataclasses.dataclass
class Run:
  """A run, in as many processes as are wanted each time it is started.

  Attributes:
    folder: of its workdir and its traces.
    flags: of `exgan train`, by name.
  """

  folder: pathlib.Path
  flags: dict

  @property
  def workdir(self):
    """The run's own folder."""
    return self.folder / 'run'

  def start(self, processes=1, devices=1, environment=None, index=0, **flags):
    """Starts it, from the process `index` on; returns the processes."""
    self.folder.mkdir(parents=True, exist_ok=True)
    flags = self.flags | flags | {'workdir': self.workdir}
    if processes > 1 and environment is None:
      address = f'127.0.0.1:{free_port()}'
      flags |= {'coordinator': address, 'num_processes': processes}
    # How sums are rounded depends on the number of XLA's threads.
    fixed = os.environ | {
      'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
      'NPROC': '8',
    }
    started = []
    for rank in range(index, index + processes):
      mine = flags
      if 'coordinator' in flags:
        mine = flags | {'process_id': rank}
      own = environment(rank) if environment else {}
      with (self.folder / f'log-{rank}').open('w') as log:
        started.append(
          subprocess.Popen(
            [
              *(sys.executable, str(SCRIPT), str(self.folder / 'trace')),
              *(f'--{config_lib.flag(k)}={v}' for k, v in mine.items()),
            ],
            env=fixed | own,
            stdout=log,
            stderr=log,
          )
        )
    return started

  def log(self, index=0):
    """What a process has printed."""
    return (self.folder / f'log-{index}').read_text()

  def finish(self, started, codes=(0,)):
    """Waits for the processes; all must end with one of the codes."""
    deadline = time.monotonic() + 300
    try:
      for index, process in enumerate(started):
        code = process.wait(timeout=max(0, deadline - time.monotonic()))
        assert code in codes, f'{index} ended with {code}: {self.log(index)}'
    finally:
      for process in started:
        process.kill()  # Does nothing to those that have ended.

  def batches(self):
    """The rows of the global batch of every step, of every time it was read.

    A process that is killed may have written the others' last step alone.
    """
    read = {}
    for line in (self.folder / 'trace').read_text().splitlines():
      step, process, rows = json.loads(line)
      read.setdefault(step, []).append((process, rows))
    return read

  def state(self, step=None):
    """The state of a checkpoint, by default the newest, on the host."""
    config = config_lib.load(self.workdir / 'config.json')
    mesh = sharding.make_mesh(config.batch_size)
    with Checkpoints(self.workdir) as checkpoints:
      state, _ = checkpoints.restore(config, mesh, step)
    return jax.tree.map(np.asarray, state)

  def lines(self):
    """The lines of metrics.jsonl."""
    text = (self.workdir / 'metrics.jsonl').read_text()
    return [json.loads(line) for line in text.splitlines()]
