"""Writes files whole or not at all, and reads files that anybody wrote.

Every file that the project writes goes through `write_bytes`, and
every untrusted one is opened by `open_regular`, of which `read_bytes` and
`read_npz` make use.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import json
import os
import pathlib
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from exgan_jax.errors import InputError

try:
  import fcntl
except ImportError:  # On Windows, where what a killed process leaves stays.
  fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
  import numpy as np

# Reading the mask changes it for a moment, which other threads must not see.
_UMASK = os.umask(0)
os.umask(_UMASK)

Path = str | os.PathLike
# Of names: of files that are being written, and of locks in folders.
_TEMPORARY, _MARK = '.exgan-new-', '.exgan-lock'
_cleared: set[pathlib.Path] = set()
# Of a JSON file: results.json, config.json.
MAX_JSON_BYTES = 4 * 2**20


def write_bytes(path: Path, data: bytes) -> None:
  """Replaces a file by `data`, whole or not at all, making its folder.

  A symbolic link is followed: the file that it names is replaced.

  Raises:
    OSError: it cannot be written, is read-only, or is not a regular file. The
      error names `path`.
  """
  target = pathlib.Path(os.path.realpath(path))
  try:
    mode = _mode_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear_files(target.parent)
    handle, temporary = _temporary_file(target.parent)
    try:
      with open(handle, 'wb', closefd=fcntl is None) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # A full disk shows here, not later.
      os.chmod(temporary, mode)
      os.replace(temporary, target)
    except BaseException:
      with contextlib.suppress(OSError):
        os.unlink(temporary)
      raise
    finally:
      if fcntl is not None:  # Until here it is not taken for a dead one's.
        os.close(handle)
  except OSError as error:
    reason = error.strerror or str(error)
    raise OSError(error.errno, reason, os.fspath(path)) from error


def _temporary_file(folder: pathlib.Path) -> tuple[int, str]:
  """Makes a file that `_clear_files` removes if this process is killed.

  It has a new name, which no link can wait under. That does not hold the name
  of the file to write, which may be as long as a name can be.
  """
  while True:
    handle, path = tempfile.mkstemp(dir=folder, prefix=_TEMPORARY)
    _lock(handle)
    # Another process may have taken it for a dead one's before it was locked.
    if os.fstat(handle).st_nlink:
      return handle, path
    os.close(handle)


def _lock(handle: int) -> None:
  """Locks an open file until it is closed, or this process ends."""
  with contextlib.suppress(OSError):  # Where files cannot be locked.
    if fcntl is not None:
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_left_behind(path: Path) -> bool:
  """Whether the process that made and locked a file has died."""
  if fcntl is None:
    return False
  try:
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
  except OSError:
    return False
  try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError:  # In use, or locks are not known here.
    return False
  else:
    return os.fstat(handle).st_uid == os.getuid()
  finally:
    os.close(handle)


def _clear_files(folder: pathlib.Path) -> None:
  """Removes what killed processes left; looks at each folder once."""
  if folder in _cleared:
    return
  _cleared.add(folder)
  for path in folder.glob(f'{_TEMPORARY}????????'):
    if _is_left_behind(path):
      path.unlink(missing_ok=True)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
  """Marks a folder as used by this process, so that `clear` lets it be."""
  if fcntl is None:
    yield
    return
  mark = pathlib.Path(folder, _MARK)
  handle, new = tempfile.mkstemp(dir=folder, prefix=_MARK)
  try:
    _lock(handle)
    os.replace(new, mark)  # It is never there without its lock.
    yield
  finally:
    mark.unlink(missing_ok=True)
    os.close(handle)


def clear(parent: Path, prefix: str) -> None:
  """Removes folders that `held` marked for a process that was killed."""
  parent = pathlib.Path(parent)
  for path in parent.iterdir() if parent.is_dir() else ():
    is_ours = path.name.startswith(prefix) and not path.is_symlink()
    if is_ours and _is_left_behind(path / _MARK):
      shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[pathlib.Path]:
  """Makes a folder that is removed in the end.

  If the process is killed, the next call for the same parent and prefix does.
  """
  clear(parent, prefix)
  with (
    tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as folder,
    held(folder),
  ):
    yield pathlib.Path(folder)


def _mode_of(target: pathlib.Path) -> int:
  """The permissions that a file has, or that a new one gets."""
  try:
    found = target.stat().st_mode
  except FileNotFoundError:
    return 0o666 & ~_UMASK
  if stat.S_ISDIR(found):
    raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
  if not stat.S_ISREG(found):
    raise OSError(errno.EINVAL, 'not a regular file')
  if not found & 0o222:
    raise OSError(errno.EACCES, 'the file is read-only')
  return stat.S_IMODE(found)


def write_text(path: Path, text: str) -> None:
  """Like `write_bytes`, in UTF-8."""
  write_bytes(path, text.encode('utf-8'))


def write_json(path: Path, value: Any) -> None:
  """Like `write_bytes`, of a dataclass or of plain values."""
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    value = dataclasses.asdict(value)
  write_text(path, json.dumps(value, indent=2) + '\n')


def write_npz(
  path: Path, arrays: Mapping[str, np.ndarray], compressed: bool = False
) -> None:
  """Like `write_bytes`, of a NumPy archive."""
  import numpy as np

  file = io.BytesIO()
  save: Callable = np.savez_compressed if compressed else np.savez
  save(file, **arrays)
  write_bytes(path, file.getvalue())


class FileError(InputError):
  """A file cannot be read; `reason` says why, without the file's name."""

  def __init__(self, path: Path, reason: str):
    # A name with a NUL in it, or with a line break, stays one line.
    name = os.fsdecode(path)
    super().__init__(
      f'cannot read {name if name.isprintable() else ascii(name)}: {reason}'
    )
    self.reason = reason


@contextlib.contextmanager
def open_regular(path: Path, max_bytes: int) -> Iterator[io.BufferedReader]:
  """Opens a regular file of at most `max_bytes` for reading.

  Raises:
    FileError: there is no such file, it is no regular file, or it is larger.
  """
  try:
    # A FIFO without a writer would never open.
    flags = os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0)
    handle = os.open(path, flags | getattr(os, 'O_BINARY', 0))
  except OSError as error:
    raise FileError(path, error.strerror or str(error)) from error
  except ValueError as error:  # A name with a NUL in it.
    raise FileError(path, 'not a file name') from error
  with contextlib.ExitStack() as stack:
    stack.callback(os.close, handle)
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
      raise FileError(path, 'not a regular file')
    if found.st_size > max_bytes:
      raise FileError(path, f'larger than {max_bytes} bytes')
    with open(handle, 'rb', closefd=False) as file:
      yield file


def read_bytes(path: Path, max_bytes: int) -> bytes:
  """Reads a regular file of at most `max_bytes`.

  Raises:
    FileError: as from `open_regular`.
  """
  with open_regular(path, max_bytes) as file:
    # Files of /proc tell no size, and others may still grow.
    size = max(os.fstat(file.fileno()).st_size, 2**16)
    try:
      data = file.read(min(size, max_bytes) + 1)
    except OSError as error:
      raise FileError(path, error.strerror or str(error)) from error
  if len(data) > max_bytes:
    raise FileError(path, f'larger than {max_bytes} bytes')
  return data


def read_json(path: Path) -> dict[str, Any]:
  """Reads a JSON object, whatever its fields.

  Raises:
    InputError: it cannot be read, is too large, or holds no object.
  """
  data = read_bytes(path, MAX_JSON_BYTES)
  try:
    fields = json.loads(data)
  except (ValueError, RecursionError) as error:
    raise InputError(f'{path} is not JSON') from error
  if not isinstance(fields, dict):
    raise InputError(f'{path} holds no JSON object')
  return fields


def read_npz(
  path: Path, max_bytes: int, contents: str
) -> dict[str, np.ndarray]:
  """Reads all arrays of a NumPy archive; nothing in the file is executed.

  Args:
    path: of the file.
    max_bytes: the most that it may hold, unpacked.
    contents: what it should hold, for the message.

  Raises:
    InputError: there is no such file, it is larger, or holds something else.
  """
  import numpy as np

  data = read_bytes(path, max_bytes)
  try:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
      if sum(entry.file_size for entry in archive.infolist()) > max_bytes:
        raise InputError(f'{path} holds more than {max_bytes} bytes')
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
      arrays = dict(file)
  except InputError:
    raise
  except Exception as error:  # Of a damaged archive NumPy raises nearly any.
    raise InputError(f'{path} holds no {contents}') from error
  if not all(isinstance(array, np.ndarray) for array in arrays.values()):
    raise InputError(f'{path} holds more than {contents}')
  return arrays


def check_output(path: Path, field: str = 'metrics') -> None:
  """Checks, before hours of work, that results can be written to a file.

  Args:
    path: of the file.
    field: that every file of the kind to write has. A file that exists must
      have it: nothing else is overwritten.

  Raises:
    InputError: it does not end in `.json`, is a folder, holds something else,
      or its folder cannot be written to.
  """
  path = pathlib.Path(path)
  if path.suffix != '.json' or path.is_dir():
    raise InputError(f'--output must be a path ending in .json, not {path}')
  if path.is_file():
    try:
      is_ours = field in read_json(path)
    except InputError:
      is_ours = False
    if not is_ours:
      raise InputError(
        f'{path} exists and holds something else: choose another --output'
      )
  check_folder_of(path)


def check_folder_of(path: Path) -> None:
  """Checks that a file's folder exists or can be made, and can be written to.

  Raises:
    InputError: it cannot.
  """
  folder = pathlib.Path(path).absolute().parent
  while not folder.exists():
    folder = folder.parent
  if not folder.is_dir() or not os.access(folder, os.W_OK):
    raise InputError(f'cannot write {path}: no permission to write to {folder}')
