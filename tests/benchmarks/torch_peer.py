"""The training step and one painted picture against the same in PyTorch.

    python tests/benchmarks/torch_peer.py --size paper --resolution 256 \\
      --batch-size 16,32,64 --output ratio.json

Each framework has a process of its own, with all cores or the GPU, and both are
timed in turn: they are given the same first weights and pictures, compile, and
then take steps round by round. What is timed is on the device already. PyTorch
runs in the fastest of several variants (see `torch_variants.py`); the first
step's metrics of both are compared. Of several batch sizes each framework has
its best; one that does not fit into memory is left out. PyTorch is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from peer_report import FRAMEWORKS, Figures, figures_of, show
from peer_worker import Answer, Job

from exgan_jax import config as config_lib
from exgan_jax.errors import InputError

# Processes that ran, in the mean of the last minute.
BUSY = 0.5
WORKER = pathlib.Path(__file__).with_name('peer_worker.py')


class Lost(Exception):
  """A process ended; the text says which."""


class Peer:
  """A process that runs one framework, to be asked one thing at a time."""

  def __init__(self, framework: str, path: pathlib.Path, env: dict[str, str]):
    self.framework = framework
    self.process = subprocess.Popen(
      [sys.executable, WORKER, framework, path],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env=env,
    )

  def ask(self, name: str, count: int = 0) -> Answer | None:
    """The answer; None where there is too little memory.

    Raises:
      Lost: the process ended for another reason.
    """
    with contextlib.suppress(BrokenPipeError):
      print(json.dumps([name, count]), file=self.process.stdin, flush=True)
    line = self.process.stdout.readline()
    if line:
      answer = json.loads(line)
      return None if 'out_of_memory' in answer else answer
    # So ends a process when the computer has no memory left.
    if self.process.wait() == -signal.SIGKILL:
      return None
    raise Lost(f'the process of {self.framework} ended')

  def stop(self) -> None:
    """Lets the process end."""
    with contextlib.suppress(BrokenPipeError):
      self.process.stdin.close()
    self.process.stdout.close()
    self.process.wait()


def main() -> None:
  """Prints what it measures."""
  args = _arguments()
  if not importlib.util.find_spec('torch'):
    _stop('not installed: torch')
  import torch_networks
  import torch_variants

  device = _device(args.device)
  dtype = args.compute_dtype
  dtype = dtype or ('bfloat16' if device == 'cuda' else 'float32')
  fields = {
    'preset': args.preset, 'size': args.size, 'resolution': args.resolution,
    'compute_dtype': dtype, 'gradient_penalty_every': 1,
  }  # fmt: skip
  try:
    torch_networks.check(config_lib.make(**fields))
  except (InputError, ValueError) as error:
    _stop(str(error))
  variants = args.variants or torch_variants.DEFAULT[device]
  if unknown := set(variants) - set(torch_variants.VARIANTS):
    _stop(f'unknown variant: {min(unknown)}')
  job = Job(
    fields, device, '', ['eager'] if args.eager else list(variants), args.eager
  )
  load = [os.getloadavg()[0]]
  env = _environment(args, device)
  try:
    tried = [_measure(args, job, env, size) for size in args.batch_size]
    figures = figures_of(job, tried)
  except (Lost, MemoryError) as error:
    _stop(str(error), 1)
  figures['load_average'] = [*load, os.getloadavg()[0]]
  figures['wait_policy'] = env.get('OMP_WAIT_POLICY', '')
  args.output.write_text(json.dumps(figures, indent=2) + '\n')
  difference = show(figures)
  if difference:
    _stop(difference, 1)


def _arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.error = _stop
  parser.add_argument('--preset', default='reference', help='gan or reference')
  parser.add_argument('--size', default='small', help='of the networks')
  for name, default, text in (
    ('resolution', 128, 'of the pictures in pixels'),
    ('rounds', 7, 'timings of each'),
    ('steps', 5, 'training steps a round'),
    ('calls', 20, 'pictures painted a round, one at a time'),
  ):
    parser.add_argument(
      f'--{name}', type=_positive, default=default, help=f'{text} ({default})'
    )
  parser.add_argument(
    '--batch-size', default='16', type=_sizes, help='one or several: 16,32'
  )
  parser.add_argument('--compute-dtype', choices=['float32', 'bfloat16'])
  parser.add_argument(
    '--device', default='auto', choices=['auto', 'cpu', 'cuda']
  )
  parser.add_argument(
    '--variants', type=lambda text: text.split(','), help='of the PyTorch step'
  )
  parser.add_argument(
    '--eager', action='store_true', help='PyTorch compiles nothing'
  )
  parser.add_argument(
    '--caches', action='store_true',
    help='use what was compiled before: then no compile times',
  )  # fmt: skip
  parser.add_argument('--output', required=True, type=pathlib.Path)
  args = parser.parse_args()
  if not args.output.parent.is_dir() or args.output.is_dir():
    _stop(f'cannot write {args.output}')
  return args


def _positive(text: str) -> int:
  if not text.isdecimal() or not int(text):
    raise argparse.ArgumentTypeError(f'{text} is not a positive whole number')
  return int(text)


def _sizes(text: str) -> list[int]:
  return [_positive(part) for part in text.split(',')]


def _device(wanted: str) -> str:
  """Where both can run."""
  if wanted == 'cpu':
    return 'cpu'
  import torch

  found = torch.cuda.is_available()
  if found:
    # In a process of its own, which gives the memory back.
    code = 'import jax; print(jax.default_backend())'
    backend = subprocess.run(
      [sys.executable, '-c', code], stdout=subprocess.PIPE, text=True
    )
    found = backend.stdout.strip() == 'gpu'
  if wanted == 'cuda' and not found:
    _stop('PyTorch and JAX do not both see a GPU')
  return 'cuda' if found else 'cpu'


def _environment(args: argparse.Namespace, device: str) -> dict[str, str]:
  env = os.environ | {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'}
  if device == 'cpu':
    env['JAX_PLATFORMS'] = 'cpu'
    # OpenMP's threads wait for each other by spinning: the fastest way on idle
    # cores, and several times slower than sleeping where others use them, too.
    if os.getloadavg()[0] > BUSY:
      env.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
  return env


def _measure(
  args: argparse.Namespace, job: Job, env: dict[str, str], size: int
) -> Figures:
  """Rates of both at a batch size, and seconds of inference."""
  peers: list[Peer] = []
  said: dict[str, Answer] = {}
  with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
    job = dataclasses.replace(
      job,
      config=job.config | {'batch_size': size},
      weights=f'{folder}/weights.npz',
    )
    path = pathlib.Path(folder) / 'job.json'
    path.write_text(json.dumps(dataclasses.asdict(job)))
    if not args.caches:
      env = env | {
        'JAX_ENABLE_COMPILATION_CACHE': '0',
        'TORCHINDUCTOR_CACHE_DIR': f'{folder}/inductor',
        'TRITON_CACHE_DIR': f'{folder}/triton',
      }
    for framework in FRAMEWORKS:
      print(f'batch size {size}: {framework} compiles', flush=True)
      peer = Peer(framework, path, env)
      stack.callback(peer.stop)
      if answer := peer.ask('prepare'):
        peers.append(peer)
        said[framework] = answer
    train = _in_turn(args.rounds, peers, 'train', args.steps)
    peers = [peer for peer in peers if peer.framework in train]
    infer = _in_turn(args.rounds, peers, 'infer', args.calls)
  return {
    'batch_size': size,
    'said': said,
    'rates': {
      name: [size * args.steps / each for each in seconds]
      for name, seconds in train.items()
    },
    'inference': infer,
  }


def _in_turn(
  rounds: int, peers: list[Peer], name: str, count: int
) -> dict[str, list[float]]:
  """Seconds of each framework's rounds; of what fits into memory."""
  times: dict[str, list[float]] = {peer.framework: [] for peer in peers}
  for i in range(rounds):
    # Neither is always the first.
    for peer in peers[:: 1 if i % 2 else -1]:
      if peer.framework not in times:
        continue
      if answer := peer.ask(name, count):
        times[peer.framework].append(answer['seconds'])
      else:
        del times[peer.framework]
  return times


def _stop(reason: str, status: int = 2) -> None:
  print(f'{pathlib.Path(__file__).name}: {reason}', file=sys.stderr)
  sys.exit(status)


if __name__ == '__main__':
  main()
