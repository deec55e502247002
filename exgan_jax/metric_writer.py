"""Where a run writes what it measured: metrics.jsonl and TensorBoard events.

TensorBoard is optional: without tensorboardX the events are left out.
"""

from __future__ import annotations

import json
import os
import pathlib

try:
  from tensorboardX import SummaryWriter
except ImportError:
  SummaryWriter = None

FILENAME = 'metrics.jsonl'


class MetricWriter:
  """Appends one object a logged step, as a context.

  Args:
    workdir: folder of the run.
    start: step that the run goes on from. Lines of later steps are from a
      stretch that was lost with its process, and are removed.
    is_mute: whether to write nothing, as another process writes it.

  Raises:
    OSError: the files cannot be written.
  """

  def __init__(self, workdir: pathlib.Path, start: int, is_mute: bool = False):
    self._file = self._events = None
    if is_mute:
      return
    path = workdir / FILENAME
    _drop_after(path, start)
    self._file = path.open('a')
    self._events = SummaryWriter and SummaryWriter(
      str(workdir / 'events'), purge_step=start + 1
    )

  def __enter__(self) -> MetricWriter:
    return self

  def __exit__(self, *exc_info) -> None:
    if self._file:
      self._file.close()
    if self._events:
      self._events.close()

  def write(self, step: int, values: dict[str, float]) -> None:
    """Writes the values of a step to the file at once, to TensorBoard soon."""
    if not self._file:
      return
    self._file.write(json.dumps({'step': step, **values}) + '\n')
    self._file.flush()
    if self._events:
      for name, value in values.items():
        self._events.add_scalar(name, value, step)


def _drop_after(path: pathlib.Path, step: int) -> None:
  if not path.exists():
    return
  kept = []
  for line in path.read_text(errors='replace').splitlines():
    try:
      if json.loads(line)['step'] <= step:
        kept.append(line + '\n')
    except (ValueError, KeyError, TypeError):
      continue  # The line that a killed process was writing.
  temporary = path.with_name(path.name + '.tmp')
  temporary.write_text(''.join(kept))
  os.replace(temporary, path)
