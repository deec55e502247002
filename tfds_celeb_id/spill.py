"""Bytes that wait on disk until it is known which record they belong to."""

import dataclasses
import os
import tempfile


@dataclasses.dataclass(frozen=True)
class Span:
  """Where bytes lie in a `Spill`."""

  start: int
  length: int


class Spill:
  """Bytes kept in a nameless temporary file, which dies with the process.

  Args:
    folder: where the file is, if it is on a local disk.
  """

  def __init__(self, folder: str | os.PathLike):
    folder = os.fspath(folder)
    self._file = tempfile.TemporaryFile(  # noqa: SIM115
      dir=folder if os.path.isdir(folder) else None
    )
    self._size = 0

  def put(self, data: bytes) -> Span:
    """Stores bytes; returns where they are."""
    self._file.seek(self._size)
    self._file.write(data)
    span = Span(self._size, len(data))
    self._size += len(data)
    return span

  def get(self, span: Span) -> bytes:
    """Returns bytes that were stored."""
    self._file.seek(span.start)
    return self._file.read(span.length)

  def close(self) -> None:
    """Removes the file."""
    self._file.close()
