"""Traces of a few steps, and which operations take the time."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

import jax

LONGEST = 15


@dataclasses.dataclass(frozen=True)
class Operation:
  """One operation of a compiled program.

  Attributes:
    name: the compiler's.
    ms_per_step: time that it took, over all devices.
    share: of the time of all operations, in [0, 1].
  """

  name: str
  ms_per_step: float
  share: float


@contextlib.contextmanager
def traced(folder: str | pathlib.Path, steps: int) -> Iterator[list[Operation]]:
  """Traces what is run within; TensorBoard, Perfetto and XProf show the trace.

  Args:
    folder: to write to.
    steps: how many are run within.

  Yields:
    A list that is filled at the end: the longest operations, longest first.
    Empty if the trace has no operations.

  Raises:
    OSError: the trace cannot be written.
  """
  found: list[Operation] = []
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  before = set(folder.rglob('*.xplane.pb'))
  with jax.profiler.trace(str(folder)):
    yield found
  for path in set(folder.rglob('*.xplane.pb')) - before:
    found.extend(_longest(path, steps))


def _longest(path: pathlib.Path, steps: int) -> list[Operation]:
  spent: dict[str, float] = collections.defaultdict(float)
  for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
    for line in plane.lines:
      for event in line.events:
        name = dict(event.stats).get('hlo_op')
        if name:
          spent[name] += event.duration_ns / 1e6 / steps
  total = sum(spent.values())
  return [
    Operation(name, time, time / total)
    for name, time in sorted(spent.items(), key=lambda item: -item[1])[:LONGEST]
  ]
