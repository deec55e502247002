"""The map over processes: order, failures, crashes."""

import functools
import math
import operator
import os
import subprocess
import sys
import time

import pytest

from exgan_jax.errors import InputError
from exgan_jax.face_records import parallel
from exgan_jax.face_records.parallel import Failure


@pytest.mark.parametrize('workers', [0, 1, 3])
def test_keeps_the_order_and_reports_what_fails(workers):
  results = list(parallel.ordered_map(math.sqrt, [4, -1, 9, 'x'], workers))
  assert results[0] == 2 and results[2] == 3
  assert isinstance(results[1], Failure) and isinstance(results[3], Failure)
  assert results[1].reason.startswith('ValueError: ')
  assert results[3].reason.startswith('TypeError: ')


def test_a_crash_affects_no_other_item():
  calls = [functools.partial(abs, -i) for i in range(30)]
  calls[5] = functools.partial(os._exit, 3)
  calls[6] = functools.partial(os.abort)
  # Under way when its neighbour dies, and none the worse for it.
  calls[10] = functools.partial(time.sleep, 0.5)
  calls[11] = functools.partial(os._exit, 4)
  results = list(parallel.ordered_map(operator.call, calls, 2))
  died = Failure('the process that worked on it died')
  assert [results[i] for i in (5, 6, 11)] == [died] * 3
  assert results[10] is None
  for i in set(range(30)) - {5, 6, 10, 11}:
    assert results[i] == i


def _bad_input(_):
  raise InputError('no bundle')


def test_bad_input_ends_the_map():
  with pytest.raises(InputError, match='no bundle'):
    list(parallel.ordered_map(_bad_input, range(3), 0))


def test_consumes_items_as_fast_as_results():
  taken = []

  def items():
    for i in range(1000):
      taken.append(i)
      yield i

  results = parallel.ordered_map(abs, items(), 1)
  next(results)
  assert len(taken) < 20
  results.close()


def _wait(seconds):
  time.sleep(seconds)


@pytest.mark.slow
def test_workers_end_with_their_parent():
  code = """
import multiprocessing, sys, test_parallel
from exgan_jax.face_records import parallel
results = parallel.ordered_map(test_parallel._wait, [0, 0, 60, 60], 2)
next(results), next(results)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
next(results)
"""
  folder = os.path.dirname(__file__)
  path = os.pathsep.join([folder, os.environ.get('PYTHONPATH', '')])
  with subprocess.Popen(
    [sys.executable, '-c', code],
    stdout=subprocess.PIPE, text=True, env=os.environ | {'PYTHONPATH': path},
  ) as parent:  # fmt: skip
    workers = list(map(int, parent.stdout.readline().split()))
    parent.kill()
  assert len(workers) == 2
  deadline = time.monotonic() + 30
  while any(map(_lives, workers)):
    assert time.monotonic() < deadline
    time.sleep(0.05)


def _lives(number):
  try:
    with open(f'/proc/{number}/stat') as file:
      return file.read().rpartition(')')[2].split()[0] != 'Z'
  except OSError:
    return False
