"""A temporary file for encoded pictures, until all pictures are processed."""

import dataclasses
import os
import tempfile


@dataclasses.dataclass(frozen=True)
class Span:
  """A range of bytes in a `Spill`."""

  start: int
  length: int


class Spill:
  """Bytes in an unnamed temporary file, which is deleted with the process.

  Args:
    folder: where to put the file; ignored unless it is a local folder.
  """

  def __init__(self, folder: str | os.PathLike):
    folder = os.fspath(folder)
    self._file = tempfile.TemporaryFile(  # noqa: SIM115
      dir=folder if os.path.isdir(folder) else None
    )

  def put(self, data: bytes) -> Span:
    """Appends bytes."""
    start = self._file.seek(0, os.SEEK_END)
    self._file.write(data)
    return Span(start, len(data))

  def get(self, span: Span) -> bytes:
    """Returns bytes that were stored."""
    self._file.seek(span.start)
    return self._file.read(span.length)

  def close(self) -> None:
    """Deletes the file."""
    self._file.close()
