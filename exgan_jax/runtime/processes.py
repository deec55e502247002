"""Multi-process training: start, agreement between processes, and exit.

Built on `jax.distributed`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from exgan_jax.config import option
from exgan_jax.errors import InputError
from exgan_jax.runtime import messages

# Exit codes; the first is EX_TEMPFAIL of sysexits.h.
PREEMPTED, LOST, INTERRUPTED = 75, 76, 130
# Errors of processes that wait for a lost one contain one of these.
_LOSSES = (
  *('Gloo', 'NCCL', 'coordination service', 'heartbeat', 'Barrier'),
  *('Socket closed', 'Connection reset', 'Connection closed'),
)
# Variables that are set where JAX detects the cluster by itself.
_CLUSTERS = (
  ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_PROCID', 'SLURM_LOCALID'),
  ('OMPI_MCA_orte_hnp_uri', 'OMPI_COMM_WORLD_SIZE'),
  ('TPU_WORKER_HOSTNAMES', 'TPU_WORKER_ID'),
)
_COUNTS = ('SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE')
_RANKS = ('SLURM_PROCID', 'OMPI_COMM_WORLD_RANK', 'TPU_WORKER_ID')


# Not an Exception, like KeyboardInterrupt: it may be raised anywhere, and
# error handlers must not catch it.
class PreemptedError(BaseException):
  """The process was told to stop; everything is saved."""


class LostError(Exception):
  """Another process died or was never found."""


@dataclasses.dataclass(frozen=True)
class Cluster:
  """How the processes find each other; defaults come from the environment."""

  coordinator: str = option('', 'host:port where process 0 listens')
  num_processes: int = option(0, 'number of processes; 0: from the environment')
  process_id: int = option(-1, 'index of this process; -1: from environment')
  distributed: bool = option(False, 'let JAX find the processes, as on TPU VMs')
  barrier_timeout: int = option(600, 'seconds to wait for all processes')

  def started(self) -> bool:
    """Starts `jax.distributed` if there are several processes.

    If a process does not start in time, the others exit with its number.

    Raises:
      InputError: the description of the cluster is incomplete or wrong.
      LostError: the processes cannot connect.
    """
    address = self.coordinator or os.environ.get('JAX_COORDINATOR_ADDRESS')
    coordinator = address or None
    count = self.num_processes or _number('JAX_NUM_PROCESSES')
    rank = None if self.process_id < 0 else self.process_id
    if rank is None:
      rank = _number('JAX_PROCESS_ID')
    given = (coordinator, count, rank)
    if self.barrier_timeout < 1:
      raise InputError('--barrier-timeout must be at least 1 second')
    if given == (None,) * 3 and not self.distributed and not _in_cluster():
      return False
    if None in given and given != (None,) * 3 and not _in_cluster():
      raise InputError(
        '--coordinator, --num-processes and --process-id go together'
      )
    if count is not None and rank is not None and not 0 <= rank < count:
      raise InputError(f'--process-id {rank} is not in [0, {count})')
    if coordinator and not coordinator.rpartition(':')[2].isdecimal():
      raise InputError(f'--coordinator {coordinator} is not host:port')
    _initialize(self.barrier_timeout, coordinator, count, rank)
    return True


def _initialize(
  seconds: int, coordinator: str | None, count: int | None, rank: int | None
) -> None:
  import jax

  # Without a rank JAX finds it by itself; here it is only for messages.
  found = (os.environ.get(name, '') for name in _RANKS)
  guess = next((int(text) for text in found if text.isdecimal()), 0)
  _redirected.append(messages.redirect(guess if rank is None else rank))
  try:
    with _coordinator_timeout(seconds):
      jax.distributed.initialize(
        coordinator, count, rank, initialization_timeout=seconds + 20
      )
  except ValueError as error:
    raise InputError(f'cannot connect: {first_line(error)}') from error
  except RuntimeError as error:  # For example if the port is taken.
    raise LostError(f'cannot connect: {first_line(error)}') from error


@contextlib.contextmanager
def _coordinator_timeout(seconds: int) -> Iterator[None]:
  """Sets how long the coordinator waits for processes to start.

  Only the coordinator knows which ones are missing, but its default of one hour
  is longer than the processes wait. JAX has no public option for it.
  """
  from jax._src import distributed as internals

  name = 'get_distributed_runtime_service'
  module = getattr(internals, '_jax', None)
  make = getattr(module, name, None)
  if make is None:  # In other JAX releases the error names no process.
    yield
    return
  setattr(
    module, name, functools.partial(make, cluster_register_timeout=seconds)
  )
  try:
    yield
  finally:
    setattr(module, name, make)


# The program that filters standard error, if it was started.
_redirected: list[subprocess.Popen] = []


def _in_cluster() -> bool:
  """Returns whether the environment describes more than one process."""
  for names in _CLUSTERS:
    if all(name in os.environ for name in names):
      hosts = os.environ.get('TPU_WORKER_HOSTNAMES', '').split(',')
      counts = [os.environ.get(name, '1') for name in _COUNTS]
      return len(hosts) > 1 or any(n.isdecimal() and int(n) > 1 for n in counts)
  return 'MEGASCALE_COORDINATOR_ADDRESS' in os.environ


def _number(variable: str) -> int | None:
  text = os.environ.get(variable)
  if text is not None and not text.isdecimal():
    raise InputError(f'{variable} is {text!r}, not a number')
  return None if text is None else int(text)


def leave(code: int) -> None:
  """Exits with a code, without waiting for other processes.

  Python's clean-up is skipped in two cases: at exit JAX would wait minutes for
  processes that wait for this one, and it crashes (0.10) if Ctrl-C interrupted
  a compilation.
  """
  jax = sys.modules.get('jax')  # Not imported if a flag is wrong.
  sys.stdout.flush()
  sys.stderr.flush()
  is_distributed = jax and jax.distributed.is_initialized()
  if is_distributed and code not in (0, PREEMPTED):
    # When process 0 exits, the others are killed; let them report first.
    time.sleep(2.0 if is_first() else 0.0)
    while _redirected:
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
      with contextlib.suppress(subprocess.TimeoutExpired):
        _redirected.pop().wait(timeout=5.0)
  elif not (jax and code == INTERRUPTED):
    sys.exit(code)
  os._exit(code)


def is_first() -> bool:
  """Returns whether this is process 0, which writes shared files."""
  import jax

  return jax.process_index() == 0


def first_line(error: BaseException) -> str:
  """Returns the first line of an error's message."""
  return (str(error).strip().splitlines() or [''])[0]


def is_loss(error: BaseException) -> bool:
  """Returns whether an error means that another process died."""
  import jax

  if isinstance(error, LostError):
    return True
  return jax.process_count() > 1 and any(sign in str(error) for sign in _LOSSES)


def agreed(decide: Callable[[], Sequence[int]], length: int) -> list[int]:
  """Calls `decide` in process 0 and broadcasts the `length` numbers it returns.

  Raises:
    InputError: `decide` failed.
  """
  import jax
  import numpy as np
  from jax.experimental import multihost_utils

  if jax.process_count() == 1:
    return list(decide())
  numbers: Sequence[int] = [0] * length
  problem = None
  if is_first():
    try:
      numbers = decide()
    except (InputError, OSError) as error:
      problem = error
  mine = np.asarray([*numbers, problem is not None], np.int32)
  *numbers, failed = multihost_utils.broadcast_one_to_all(mine).tolist()
  if problem is not None:
    raise problem
  if failed:
    raise InputError('process 0 failed')
  return list(numbers)


def all_of(answer: bool) -> bool:
  """Returns whether a condition holds in all processes."""
  import jax
  import numpy as np
  from jax.experimental import multihost_utils

  if jax.process_count() == 1:
    return answer
  return bool(multihost_utils.process_allgather(np.asarray(answer)).all())


def check_same(what: str, text: str) -> None:
  """Checks that a text is the same in all processes.

  Raises:
    InputError: it is not.
  """
  import jax
  import numpy as np
  from jax.experimental import multihost_utils

  if jax.process_count() == 1:
    return
  digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.int32)
  found = multihost_utils.process_allgather(digest)
  if (found != found[0]).any():
    raise InputError(f'{what} are not the same in all processes')


class Preemption:
  """Delays SIGTERM to the end of a step, as a context manager.

  With several processes, JAX notifies all of them and chooses a step that none
  of them has started.
  """

  def __init__(self):
    self._is_received = False

  def __enter__(self) -> Preemption:
    import jax

    def receive(*_):
      self._is_received = True

    # With several processes JAX has its own handler.
    is_alone = jax.process_count() == 1
    self._restore = _handle(receive) if is_alone else lambda: None
    return self

  def __exit__(self, *exc_info) -> None:
    self._restore()

  def reached(self, step: int) -> bool:
    """Returns whether to stop after this step; equal in all processes."""
    import jax
    from jax.experimental import multihost_utils

    if jax.process_count() > 1:
      return multihost_utils.reached_preemption_sync_point(step)
    return self._is_received


@contextlib.contextmanager
def ends_at_once() -> Iterator[None]:
  """Turns SIGTERM into a `PreemptedError`, if there is nothing to save."""

  def stop(*_):
    raise PreemptedError('stopped by SIGTERM; run the same command to resume')

  restore = _handle(stop)
  try:
    yield
  finally:
    restore()


def _handle(handler: Callable) -> Callable[[], object]:
  """Handles SIGTERM; returns the function that restores the old handler."""
  if threading.current_thread() is not threading.main_thread():
    return lambda: None
  before = signal.signal(signal.SIGTERM, handler)
  # Handlers that were not installed from Python cannot be restored.
  return lambda: signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
