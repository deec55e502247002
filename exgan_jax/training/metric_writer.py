"""Where a run writes what it measured: metrics.jsonl and TensorBoard events.

TensorBoard is optional: without tensorboardX the events are left out.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import time
from typing import Any

from exgan_jax import files

try:
  # Its usual writer has a thread of its own: on a full disk that dies, and the
  # run would wait for it for ever.
  from tensorboardX.event_file_writer import EventsWriter
  from tensorboardX.proto.event_pb2 import Event, SessionLog
  from tensorboardX.summary import scalar
except ImportError:
  EventsWriter = None

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
    if EventsWriter:
      folder = workdir / 'events'
      folder.mkdir(exist_ok=True)
      self._events = EventsWriter(str(folder / 'events'))
      # TensorBoard leaves out the later steps of files before this one.
      begun = SessionLog(status=SessionLog.START)
      self._add(Event(step=start + 1, session_log=begun))

  def __enter__(self) -> MetricWriter:
    return self

  def __exit__(self, *exc_info) -> None:
    if self._file:
      # On a full disk what is left to be written is lost, and the file closed.
      with contextlib.suppress(OSError):
        self._file.close()
    if self._events:
      with contextlib.suppress(OSError):
        self._events.close()

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
        # Half an event cannot be mended: no more of them until the next start.
        self._events = None
        raise

  def _add(self, event: Any) -> None:
    if self._events:
      event.wall_time = time.time()
      self._events.write_event(event)


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
  files.write_text(path, ''.join(kept))
