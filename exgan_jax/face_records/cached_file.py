"""Downloads files once, checks them, and keeps them in the user's cache."""

import hashlib
import os
import pathlib
import urllib.request

from exgan_jax import files


def cache_folder() -> pathlib.Path:
  """Returns the user's cache folder, which may not exist yet."""
  cache = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(cache) / 'exgan_jax'


def sha256_of(path: str | os.PathLike) -> str:
  """Returns the SHA-256 of a file in hexadecimal."""
  with files.open_regular(path, 2**40) as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def download(
  url: str, target: pathlib.Path, size: int, sha256: str
) -> pathlib.Path:
  """Downloads a file unless it exists, and returns its path.

  Args:
    url: the address.
    target: the path.
    size: in bytes.
    sha256: of the content.

  Raises:
    OSError: it cannot be downloaded or written, or has another hash.
  """
  if target.is_file() and sha256_of(target) == sha256:
    return target
  with urllib.request.urlopen(url, timeout=30) as response:
    data = response.read(size + 1)
  if hashlib.sha256(data).hexdigest() != sha256:
    raise OSError('the downloaded file does not have the published SHA-256')
  files.write_bytes(target, data)
  return target
