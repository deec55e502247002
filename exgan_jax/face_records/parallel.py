"""An ordered map over processes that survives errors and crashes."""

import collections
import contextlib
import dataclasses
import functools
import itertools
import multiprocessing
import os
import sys
import threading
import types
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import cv2

from exgan_jax.errors import InputError

_LOOK_AHEAD = 8  # Submitted items per worker.


@dataclasses.dataclass(frozen=True)
class Failure:
  """Stands for the result of a call that failed."""

  reason: str


def cpu_count() -> int:
  """Returns the number of CPU cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def ordered_map(
  function: Callable[[Any], Any],
  items: Iterable[Any],
  workers: int | None = None,
) -> Generator[Any, None, None]:
  """Yields `function(item)` for each item, in order, from many processes.

  Only a few items per worker are in memory. A call that raises, or that crashes
  its process, yields a `Failure`; other items are not affected.

  Args:
    function: pure; it, its arguments and its results can be pickled.
    items: consumed as fast as the results are.
    workers: number of processes; 0 means this one, None means one per core.

  Raises:
    InputError: a call raised it, as it would for the other items.
  """
  if workers == 0:
    yield from (attempt(functools.partial(function, item)) for item in items)
    return
  workers = workers or cpu_count()
  items = iter(items)
  pending: collections.deque[tuple[Any, futures.Future]] = collections.deque()
  pool = _Pool(workers)
  try:
    while True:
      room = workers * _LOOK_AHEAD - len(pending)
      for item in itertools.islice(items, room):
        pending.append((item, pool.submit(function, item)))
      if not pending:
        return
      item, future = pending.popleft()
      try:
        result = attempt(future.result)
      except BrokenProcessPool:
        pool.close()
        result = _alone(function, item)
        pool = _Pool(workers)
        pending = collections.deque(
          (item, pool.submit(function, item)) for item, _ in pending
        )
      yield result
  finally:
    pool.close()


def attempt(call: Callable[[], Any]) -> Any:
  """Returns the result of a call, or a `Failure` with what it raised.

  Raises:
    InputError: the call raised it.
  """
  try:
    return call()
  except (InputError, BrokenProcessPool):
    raise
  except Exception as error:
    message = str(error).partition('\n')[0][:200]
    return Failure(f'{type(error).__name__}: {message}')


def _alone(function: Callable[[Any], Any], item: Any) -> Any:
  """Runs an item in a process of its own, as another one may have crashed."""
  pool = _Pool(1)
  try:
    return attempt(pool.submit(function, item).result)
  except BrokenProcessPool:
    return Failure('the process that worked on it died')
  finally:
    pool.close()


class _Pool:
  """A process pool that does not import the user's main module."""

  def __init__(self, workers: int):
    self._executor = futures.ProcessPoolExecutor(
      workers,
      mp_context=multiprocessing.get_context('spawn'),
      initializer=_begin,
    )

  def submit(self, function: Callable[[Any], Any], item: Any) -> futures.Future:
    with _no_main():
      try:
        return self._executor.submit(function, item)
      except BrokenProcessPool as error:
        future: futures.Future = futures.Future()
        future.set_exception(error)
        return future

  def close(self) -> None:
    self._executor.shutdown(cancel_futures=True)


def _begin() -> None:
  """Prepares a worker."""
  cv2.setNumThreads(1)  # There is a process per core already.
  parent = multiprocessing.parent_process()
  if parent is not None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
  """Ends this process after its parent, which may have been killed."""
  parent.join()
  os._exit(1)


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
  """Hides the main module while processes start.

  Each process would import it. This takes seconds for the `tfds` command, and
  a script without `if __name__ == '__main__'` would start processes forever.
  """
  main = sys.modules['__main__']
  sys.modules['__main__'] = types.ModuleType('__main__')
  try:
    yield
  finally:
    sys.modules['__main__'] = main
