"""A map over many processes that survives what its function does to them."""

import collections
import contextlib
import dataclasses
import functools
import multiprocessing
import os
import sys
import types
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import cv2

from exgan_jax.errors import InputError

_LOOK_AHEAD = 8  # Items in flight for each worker.


@dataclasses.dataclass(frozen=True)
class Failure:
  """Stands for the result of an item whose call failed."""

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

  Memory stays flat: only a few items for each worker are under way. A call that
  raises, or that takes its process down with it, yields a `Failure` and costs
  no other item anything.

  Args:
    function: importable, and so are the types that it takes and returns.
    items: taken only as fast as results are.
    workers: number of processes; 0 means this one, None one for each core.

  Raises:
    InputError: a call raised it, which no other item would fare better with.
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
      while len(pending) < workers * _LOOK_AHEAD:
        try:
          item = next(items)
        except StopIteration:
          break
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
          (item, future if _has_result(future) else pool.submit(function, item))
          for item, future in pending
        )
      yield result
  finally:
    pool.close()


def attempt(call: Callable[[], Any]) -> Any:
  """Returns what a call returns, or a `Failure` with what it raised.

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


def _has_result(future: futures.Future) -> bool:
  return future.done() and not isinstance(future.exception(), BrokenProcessPool)


def _alone(function: Callable[[Any], Any], item: Any) -> Any:
  """Runs one item in a process of its own, to see if it breaks that one too."""
  pool = _Pool(1)
  try:
    return attempt(pool.submit(function, item).result)
  except BrokenProcessPool:
    return Failure('the process that worked on it died')
  finally:
    pool.close()


class _Pool:
  """A process pool whose workers do not run the user's main module again."""

  def __init__(self, workers: int):
    self._executor = futures.ProcessPoolExecutor(
      workers,
      mp_context=multiprocessing.get_context('spawn'),
      initializer=cv2.setNumThreads,  # The processes share the cores already.
      initargs=(1,),
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


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
  """Hides the main module while processes start.

  Each would import it: seconds for the `tfds` command, and an endless chain of
  processes for a script that does not guard its main part.
  """
  main = sys.modules['__main__']
  sys.modules['__main__'] = types.ModuleType('__main__')
  try:
    yield
  finally:
    sys.modules['__main__'] = main
