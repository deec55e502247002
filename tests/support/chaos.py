"""Disturbs a run again and again, and checks that nothing is to be seen of it.

python tests/support/chaos.py FOLDER DATA [ROUNDS]

Each time the run is started in one or two processes, and after a random while
one or both of them are killed or told to go, and sometimes the newest
checkpoint is damaged. In the end the state is compared with that of a run that
nobody disturbed, and the pictures of every step with its pictures.
"""

import pathlib
import random
import shutil
import signal
import sys
import time

import numpy as np
from jax import tree
from processes import Run

from exgan_jax.runtime import processes as processes_lib
from exgan_jax.training import checkpoint

FLAGS = {
  'preset': 'reference', 'size': 'tiny', 'dataset': 'synth_id',
  'resolution': 32, 'batch_size': 4, 'generator_width': 4,
  'discriminator_width': 4, 'dilations': 1, 'steps': 10**6, 'warmup_steps': 8,
  'log_every': 1, 'checkpoint_every': 5, 'sample_every': 10**6,
  'reader_threads': 1,
}  # fmt: skip
# What a process may end with: killed or aborted by JAX, too.
STOPPED = {processes_lib.PREEMPTED, processes_lib.LOST, 134, -6, -9}
DISTURBANCES = (
  'kill one', 'kill both', 'tell one', 'tell both', 'kill both and truncate',
)  # fmt: skip


def disturb(run, processes, kind, rng):
  """Ends the processes in a way; none of them may hang, or go on."""
  victims = processes if 'both' in kind else [rng.choice(processes)]
  number = signal.SIGTERM if 'tell' in kind else signal.SIGKILL
  for process in victims:
    process.send_signal(number)
  for process in processes:
    code = process.wait(timeout=120)
    assert code in STOPPED, f'{kind}: {code}\n{run.log()}\n{run.log(1)}'
    if 'tell' in kind:
      assert code == processes_lib.PREEMPTED, f'{kind}: {code}\n{run.log()}'
  if 'truncate' in kind:
    truncate(run.workdir, rng)


def truncate(workdir, rng):
  """Cuts a file of the newest checkpoint, unless it is the only one."""
  steps = checkpoint.steps_of(workdir)
  if len(steps) > 1:
    newest = workdir / checkpoint.FOLDER / str(steps[-1])
    files = [p for p in (newest / 'state').rglob('d/*') if p.is_file()]
    path = rng.choice(sorted(files))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def wait_for_steps(run, processes, steps):
  """Waits until so many more batches were read, or a process has ended."""
  trace = run.folder / 'trace'

  def read():
    return trace.read_bytes().count(b'\n') if trace.exists() else 0

  goal, deadline = read() + steps, time.monotonic() + 300
  while read() < goal and all(p.poll() is None for p in processes):
    assert time.monotonic() < deadline, f'no progress\n{run.log()}'
    time.sleep(0.05)


def in_order(batches, batch_size):
  """Rows of the global batch of each step; fails where they ever differed.

  Where one of two processes was killed before it had its part of a batch, the
  other's part is all there is of that time.
  """
  found = {}
  for step, parts in batches.items():
    whole = {tuple(rows) for _, rows in parts if len(rows) == batch_size}
    halves = [
      {tuple(rows) for i, rows in parts if i == index} - whole
      for index in (0, 1)
    ]
    assert all(len(half) <= 1 for half in halves), f'step {step} has changed'
    if all(halves):
      whole.add(halves[0].pop() + halves[1].pop())
    assert len(whole) == 1, f'step {step} was not always the same'
    found[step] = whole.pop()
  return found


def chaos(folder, data_dir, plan, rng, say=lambda *_: None):
  """Runs it all.

  Args:
    folder: of the runs.
    data_dir: of the records.
    plan: how many processes to start, and how to end them, each time.
    rng: of when and whom.
    say: is told how it goes.

  Returns:
    The largest relative distance of an array from the undisturbed run's.
  """
  flags = FLAGS | {'data_dir': data_dir}
  run, alone = Run(folder / 'chaos', flags), Run(folder / 'alone', flags)
  for number, (count, kind) in enumerate(plan, start=1):
    processes = run.start(count, 2 // count)
    # From before the first step to some checkpoints later.
    wait_for_steps(run, processes, rng.randrange(25))
    time.sleep(rng.random() * 0.5)
    disturb(run, processes, kind, rng)
    say(f'{number}: {count} processes, {kind}: saved {_newest(run)}')
  last = _newest(run) + 7
  run.finish(run.start(1, 2, steps=last))
  alone.finish(alone.start(2, 1, steps=last))
  say(f'{last} steps')
  size = FLAGS['batch_size']
  seen, expected = (in_order(r.batches(), size) for r in (run, alone))
  assert all(seen[step] == expected[step] for step in range(1, last + 1))
  assert [line['step'] for line in run.lines()] == [*range(1, last + 1)]
  ours, theirs = tree.leaves(run.state()), tree.leaves(alone.state())
  return max(map(_distance, ours, theirs))


def _newest(run):
  return max(checkpoint.steps_of(run.workdir), default=0)


def _distance(ours, theirs):
  ours, theirs = np.float64(ours), np.float64(theirs)
  size = np.linalg.norm(theirs)
  return np.linalg.norm(ours - theirs) / (size if size else 1.0)


def main(folder, data_dir, rounds='20', seed='0'):
  """Prints what it does, and the distance in the end."""
  folder = pathlib.Path(folder)
  shutil.rmtree(folder, ignore_errors=True)
  rng = random.Random(int(seed))
  plan = [
    (rng.choice([2, 2, 2, 1]), rng.choice(DISTURBANCES))
    for _ in range(int(rounds))
  ]
  distance = chaos(folder, data_dir, plan, rng, print)
  print(f'relative distance in the end: {distance:g}')


if __name__ == '__main__':
  main(*sys.argv[1:])
