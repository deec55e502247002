"""Writes metrics to metrics.jsonl and to TensorBoard event files.

TensorBoard is optional: without tensorboardX no events are written.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import time
from typing import Any

from exgan_jax import files

try:
  # The usual writer of tensorboardX uses a thread. On a full disk that thread
  # dies and the run would wait for it forever.
  from tensorboardX.event_file_writer import EventsWriter
  from tensorboardX.proto.event_pb2 import Event, SessionLog
  from tensorboardX.summary import scalar
except ImportError:
  EventsWriter = None

FILENAME = 'metrics.jsonl'


class MetricWriter:
  """Appends one JSON object per logged step, as a context manager.

  Args:
    workdir: folder of the run.
    start: step that the run resumes from; lines of later steps are removed.
    is_mute: write nothing, because another process does.

  Raises:
    OSError: the files cannot be written.
  """

  def __init__(self, workdir: pathlib.Path, start: int, is_mute: bool = False):
    self._file = None
    self._events: Any = None
    if is_mute:
      return
    path = workdir / FILENAME
    _drop_after(path, start)
    self._file = path.open('a')
    if EventsWriter:
      folder = workdir / 'events'
      folder.mkdir(exist_ok=True)
      self._events = EventsWriter(str(folder / 'events'))
      # Makes TensorBoard ignore later steps of older files.
      begun = SessionLog(status=SessionLog.START)
      self._add(Event(step=start + 1, session_log=begun))

  def __enter__(self) -> MetricWriter:
    return self

  def __exit__(self, *exc_info) -> None:
    for file in filter(None, (self._file, self._events)):
      # On a full disk buffered data is lost.
      with contextlib.suppress(OSError):
        file.close()

  def write(self, step: int, values: dict[str, float]) -> None:
    """Writes the values of a step to both files.

    Raises:
      OSError: the disk is full; the line is lost.
    """
    if not self._file:
      return
    self._file.write(json.dumps({'step': step, **values}) + '\n')
    self._file.flush()
    if self._events:
      try:
        for name, value in values.items():
          self._add(Event(step=step, summary=scalar(name, value)))
        self._events.flush()
      except OSError:
        # A partial event damages the file: write no more until a restart.
        self._events = None
        raise

  def _add(self, event: Any) -> None:
    event.wall_time = time.time()
    self._events.write_event(event)


def _drop_after(path: pathlib.Path, step: int) -> None:
  """Removes lines of later steps and an incomplete last line."""
  if not path.exists():
    return
  kept = []
  for line in path.read_text(errors='replace').splitlines():
    with contextlib.suppress(ValueError, KeyError, TypeError):
      if json.loads(line)['step'] <= step:
        kept.append(line + '\n')
  files.write_text(path, ''.join(kept))
