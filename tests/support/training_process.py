"""One process of a training run: the real command, which tells what it reads.

python training_process.py TRACE FLAGS...

TRACE gets a line a batch: the step, the process, and the hash of every row. At
the step FAIL_AT of the environment a batch cannot be read.
"""

import hashlib
import json
import os
import sys

import jax

from exgan_jax import cli
from exgan_jax.data import train_batches
from exgan_jax.errors import InputError
from exgan_jax.runtime import processes


class Watched:
  """An iterator over batches that writes what it gives."""

  def __init__(self, batches, trace):
    self._batches, self._trace = batches, trace
    self.get_state, self.set_state = batches.get_state, batches.set_state

  def __next__(self):
    """The next batch."""
    batch = next(self._batches)
    step = self.get_state()['next_index']
    if os.environ.get('FAIL_AT') == str(step):
      raise InputError('damaged on purpose')
    rows = [
      hashlib.sha256(b''.join(batch[name][i].tobytes() for name in batch))
      for i in range(len(batch['image']))
    ]
    line = [step, jax.process_index(), [row.hexdigest() for row in rows]]
    with open(self._trace, 'a') as file:
      file.write(json.dumps(line) + '\n')
    return batch


def main(trace, *flags):
  """Trains."""
  make = train_batches.train_batches
  train_batches.train_batches = lambda *args: Watched(make(*args), trace)
  processes.leave(cli.main(['train', *flags]))


if __name__ == '__main__':
  main(*sys.argv[1:])
