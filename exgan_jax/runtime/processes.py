"""Several processes: how they find each other, agree, and end.

The engine is JAX's own, `jax.distributed`; this file says when it is started,
and what becomes of a process that is told to go or has lost the others.
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

# Exit codes; that of a preempted process is sysexits.h's EX_TEMPFAIL.
PREEMPTED, LOST, INTERRUPTED = 75, 76, 130
# The runtimes of processes that wait for a lost one say one of these.
_LOSSES = (
  'Gloo', 'NCCL', 'coordination service', 'heartbeat', 'Socket closed',
  'Connection reset', 'Connection closed', 'Barrier',
)  # fmt: skip
# What the environment says where JAX finds out about the others by itself.
_CLUSTERS = (
  ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_PROCID', 'SLURM_LOCALID'),
  ('OMPI_MCA_orte_hnp_uri', 'OMPI_COMM_WORLD_SIZE'),
  ('TPU_WORKER_HOSTNAMES', 'TPU_WORKER_ID'),
)
_NOT_FOUND = 'the processes do not find each other'
_COUNTS = ('SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE')


# Like KeyboardInterrupt it may be raised anywhere, and nobody who handles the
# errors of what he was just doing shall take it for one of them.
class PreemptedError(BaseException):
  """The machine is taken away; what there was to save is saved."""


class LostError(Exception):
  """Another process is gone, or was never found."""


@dataclasses.dataclass(frozen=True)
class Cluster:
  """Where the processes meet. What is not given comes from the environment."""

  coordinator: str = option('', 'host:port where process 0 listens')
  num_processes: int = option(0, 'number of processes; 0: from the environment')
  process_id: int = option(
    -1, 'index of this process; -1: from the environment'
  )
  distributed: bool = option(False, 'let JAX find the processes, as on TPU VMs')
  barrier_timeout: int = option(
    600, 'seconds to wait for all processes to start'
  )

  def started(self) -> bool:
    """Starts `jax.distributed` if there are several processes.

    A process that does not come in time ends the others, which name it.

    Raises:
      InputError: what is known of the processes is incomplete or wrong.
      LostError: they cannot meet there now.
    """
    given = (
      self.coordinator or os.environ.get('JAX_COORDINATOR_ADDRESS') or None,
      self.num_processes or _number('JAX_NUM_PROCESSES'),
      self.process_id if self.process_id >= 0 else _number('JAX_PROCESS_ID'),
    )
    coordinator, count, index = given
    if self.barrier_timeout < 1:
      raise InputError('--barrier-timeout must be at least 1 second')
    if given == (None,) * 3 and not self.distributed and not _in_cluster():
      return False
    if None in given and given != (None,) * 3 and not _in_cluster():
      raise InputError(
        '--coordinator, --num-processes and --process-id go together'
      )
    if index is not None and count is not None and not 0 <= index < count:
      raise InputError(f'--process-id {index} is not in [0, {count})')
    if coordinator and not coordinator.rpartition(':')[2].isdecimal():
      raise InputError(f'--coordinator {coordinator} is not host:port')
    _initialize(self.barrier_timeout, coordinator, count, index)
    return True


def _initialize(
  seconds: int, coordinator: str | None, count: int | None, index: int | None
) -> None:
  import jax

  rank = index if index is not None else _rank()
  _redirected.append(messages.redirect(rank))
  try:
    with _patience(seconds):
      jax.distributed.initialize(
        coordinator, count, index, initialization_timeout=seconds + 20
      )
  except ValueError as error:
    raise InputError(f'{_NOT_FOUND}: {first_line(error)}') from error
  except RuntimeError as error:  # As a port that is taken.
    raise LostError(f'{_NOT_FOUND}: {first_line(error)}') from error


@contextlib.contextmanager
def _patience(seconds: int) -> Iterator[None]:
  """How long the coordinator waits for all to come.

  By default an hour, longer than the processes themselves; but only the
  coordinator knows who did not come. JAX has no public way to set it.
  """
  from jax._src import distributed as internals

  name = 'get_distributed_runtime_service'
  module = getattr(internals, '_jax', None)
  make = getattr(module, name, None)
  if make is None:  # Another release: the error then names nobody.
    yield
    return
  setattr(
    module, name, functools.partial(make, cluster_register_timeout=seconds)
  )
  try:
    yield
  finally:
    setattr(module, name, make)


# The program that standard error passes through, if there is one.
_redirected: list[subprocess.Popen] = []


def _in_cluster() -> bool:
  """Whether the environment tells of more than one process."""
  for names in _CLUSTERS:
    if all(name in os.environ for name in names):
      hosts = os.environ.get('TPU_WORKER_HOSTNAMES', '').split(',')
      counts = [os.environ.get(name, '1') for name in _COUNTS]
      return len(hosts) > 1 or any(n.isdecimal() and int(n) > 1 for n in counts)
  return 'MEGASCALE_COORDINATOR_ADDRESS' in os.environ


def _rank() -> int:
  for name in ('SLURM_PROCID', 'OMPI_COMM_WORLD_RANK', 'TPU_WORKER_ID'):
    if os.environ.get(name, '').isdecimal():
      return int(os.environ[name])
  return 0


def _number(variable: str) -> int | None:
  text = os.environ.get(variable)
  if text is not None and not text.isdecimal():
    raise InputError(f'{variable} is {text!r}, not a number')
  return None if text is None else int(text)


def leave(code: int) -> None:
  """Ends the process with an exit code, whatever the others do.

  At exit JAX would wait minutes for processes that are waiting for this one in
  the middle of a step, and it crashes (0.10) if Ctrl-C stopped it while it was
  compiling: in both cases Python's own clean-up is skipped.
  """
  jax = sys.modules.get('jax')  # Not imported for a wrong flag.
  if jax and jax.distributed.is_initialized() and code not in (0, PREEMPTED):
    sys.stdout.flush()
    sys.stderr.flush()
    # All may have the same to say; with the first one the others are ended.
    time.sleep(2.0 if jax.process_index() == 0 else 0.0)
    _close_messages()
    os._exit(code)
  if jax and code == INTERRUPTED:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
  sys.exit(code)


def _close_messages() -> None:
  while _redirected:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stderr.fileno())
    with contextlib.suppress(subprocess.TimeoutExpired):
      _redirected.pop().wait(timeout=5.0)


def is_first() -> bool:
  """Whether this is the process that writes what is written once."""
  import jax

  return jax.process_index() == 0


def first_line(error: BaseException) -> str:
  """What an error says, in short."""
  return (str(error).strip().splitlines() or [''])[0]


def is_loss(error: BaseException) -> bool:
  """Whether an error says that another process is gone."""
  import jax

  if isinstance(error, LostError):
    return True
  return jax.process_count() > 1 and any(sign in str(error) for sign in _LOSSES)


def agreed(decide: Callable[[], Sequence[int]], length: int) -> list[int]:
  """What the first process decides, for all of them.

  Args:
    decide: called in the first process alone; returns numbers.
    length: how many.

  Raises:
    InputError: it could not.
  """
  import jax
  import numpy as np
  from jax.experimental import multihost_utils

  if jax.process_count() == 1:
    return list(decide())
  told, problem = [0] * length, None
  if is_first():
    try:
      told = list(decide())
    except (InputError, OSError) as error:
      problem = error
  mine = np.asarray([*told, problem is not None], np.int32)
  *told, failed = multihost_utils.broadcast_one_to_all(mine).tolist()
  if problem is not None:
    raise problem
  if failed:
    raise InputError('the first process stopped')
  return told


def all_of(answer: bool) -> bool:
  """Whether it is so in all processes."""
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
  """Whether the machine is about to be taken away, as a context.

  A process that is told so by SIGTERM goes on to the end of a step. Where there
  are several, JAX tells all as soon as one is told, and chooses a step that
  none of them has begun.
  """

  def __init__(self):
    self._is_told = False

  def __enter__(self) -> Preemption:
    self._restore = _handle(self._note)
    return self

  def __exit__(self, *exc_info) -> None:
    self._restore()

  def reached(self, step: int) -> bool:
    """Whether this step is the last one, the same for all processes."""
    import jax
    from jax.experimental import multihost_utils

    if jax.process_count() > 1:
      return multihost_utils.reached_preemption_sync_point(step)
    return self._is_told

  def _note(self, *_) -> None:
    self._is_told = True


@contextlib.contextmanager
def ends_at_once() -> Iterator[None]:
  """Turns SIGTERM into a `PreemptedError`, where there is nothing to save."""

  def stop(*_):
    raise PreemptedError('stopped by SIGTERM: start it again to go on')

  restore = _handle(stop, alone=False)
  try:
    yield
  finally:
    restore()


def _handle(handler: Callable, alone: bool = True) -> Callable[[], object]:
  """Sets what SIGTERM does; returns what sets it back."""
  import jax

  is_main = threading.current_thread() is threading.main_thread()
  if not is_main or (alone and jax.process_count() > 1):
    return lambda: None
  before = signal.signal(signal.SIGTERM, handler)
  # What was not set from Python cannot be put back from there.
  return lambda: signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
