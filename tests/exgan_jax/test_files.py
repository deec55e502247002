"""Files are written whole or not at all, and untrusted ones are checked."""

import os
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest

from exgan_jax import files
from exgan_jax.errors import InputError


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
  path = tmp_path / 'folder' / 'new.txt'
  files.write_text(path, 'é')
  (tmp_path / 'other').touch()
  assert path.read_bytes() == 'é'.encode()
  assert path.stat().st_mode == (tmp_path / 'other').stat().st_mode
  assert os.listdir(path.parent) == ['new.txt']


def test_an_old_file_is_replaced_and_keeps_its_permissions(tmp_path):
  path = tmp_path / 'old'
  path.write_bytes(b'old')
  path.chmod(0o640)
  files.write_bytes(path, b'new')
  assert path.read_bytes() == b'new'
  assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
  target, link = tmp_path / 'target', tmp_path / 'link'
  target.write_bytes(b'old')
  link.symlink_to(target)
  files.write_bytes(link, b'new')
  assert link.is_symlink() and target.read_bytes() == b'new'


def test_a_name_as_long_as_it_may_be(tmp_path):
  path = tmp_path / ('n' * 255)
  files.write_bytes(path, b'new')
  assert path.read_bytes() == b'new'


def test_files_of_the_user_that_look_temporary_stay(tmp_path):
  mine = tmp_path / 'results.json.tmp'
  mine.write_text('mine')
  files.write_json(tmp_path / 'results.json', {'a': 1})
  assert mine.read_text() == 'mine'


def test_a_read_only_file_is_not_replaced(tmp_path):
  path = tmp_path / 'old'
  path.write_bytes(b'old')
  path.chmod(0o444)
  with pytest.raises(OSError, match='read-only') as caught:
    files.write_bytes(path, b'new')
  assert caught.value.filename == str(path)
  assert path.read_bytes() == b'old' and os.listdir(tmp_path) == ['old']


def test_what_is_no_regular_file_is_not_replaced(tmp_path):
  pipe = tmp_path / 'pipe'
  os.mkfifo(pipe)
  with pytest.raises(OSError, match='not a regular file'):
    files.write_bytes(pipe, b'new')
  assert stat.S_ISFIFO(pipe.stat().st_mode)
  with pytest.raises(IsADirectoryError):
    files.write_bytes(tmp_path, b'new')


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
  tmp_path, monkeypatch
):
  path = tmp_path / 'old'
  path.write_bytes(b'old')

  def full(_):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(OSError, match='No space left') as caught:
    files.write_bytes(path, b'new')
  assert caught.value.filename == str(path)
  assert path.read_bytes() == b'old' and os.listdir(tmp_path) == ['old']


@pytest.mark.timeout(20)
def test_reading_refuses_what_is_no_bounded_regular_file(tmp_path):
  path, pipe = tmp_path / 'four', tmp_path / 'pipe'
  path.write_bytes(b'1234')
  os.mkfifo(pipe)
  assert files.read_bytes(path, 4) == b'1234'
  for name, message in (
    (path, 'larger than 3 bytes'),
    (pipe, 'not a regular file'),
    (tmp_path, 'cannot read|not a regular file'),
    (tmp_path / 'none', 'No such file'),
    ('a\0b', 'not a file name'),
  ):
    with pytest.raises(InputError, match=message):
      files.read_bytes(name, 3)


def test_json_must_be_an_object(tmp_path):
  path = tmp_path / 'a.json'
  files.write_json(path, {'a': [1, 'b']})
  assert files.read_json(path) == {'a': [1, 'b']}
  for text, message in (('[1]', 'no JSON object'), ('{', 'not JSON')):
    path.write_text(text)
    with pytest.raises(InputError, match=message):
      files.read_json(path)


@pytest.mark.parametrize('compressed', [False, True])
def test_arrays_come_back(tmp_path, compressed):
  path = tmp_path / 'a.npz'
  files.write_npz(path, {'x': np.arange(3)}, compressed)
  (found,) = files.read_npz(path, 10_000, 'numbers').values()
  np.testing.assert_array_equal(found, [0, 1, 2])


def test_an_archive_may_not_unpack_to_more_nor_hold_objects(tmp_path):
  path = tmp_path / 'a.npz'
  files.write_npz(path, {'x': np.zeros(100_000)}, compressed=True)
  assert path.stat().st_size < 10_000
  with pytest.raises(InputError, match='holds more than 10000 bytes'):
    files.read_npz(path, 10_000, 'numbers')
  np.savez(path, x=np.array([{}], dtype=object))
  with pytest.raises(InputError, match='holds no numbers'):
    files.read_npz(path, 10_000, 'numbers')


@pytest.mark.parametrize('content', ['{"preset": "gan"}', '[]', 'a letter', ''])
def test_only_its_own_kind_is_overwritten(tmp_path, content):
  path = tmp_path / 'config.json'
  files.check_output(path)
  path.write_text(content)
  with pytest.raises(InputError, match='holds something else'):
    files.check_output(path)
  path.write_text('{"metrics": {}}')
  files.check_output(path)
  with pytest.raises(InputError, match='holds something else'):
    files.check_output(path, 'topology')


def _killed(code, *arguments):
  """Runs code that kills its process at its end."""
  code += '\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)'
  done = subprocess.run([sys.executable, '-c', code, *map(str, arguments)])
  assert done.returncode == -signal.SIGKILL


def test_files_of_a_killed_process_are_cleared(tmp_path):
  code = 'import sys; from exgan_jax import files; import pathlib\n'
  code += 'files._temporary_file(pathlib.Path(sys.argv[1]))'
  _killed(code, tmp_path)
  assert len(os.listdir(tmp_path)) == 1
  handle, mine = files._temporary_file(tmp_path)
  (tmp_path / '.exgan-my notes').touch()
  files.write_bytes(tmp_path / 'new', b'new')
  left = {'new', '.exgan-my notes', os.path.basename(mine)}
  assert {*os.listdir(tmp_path)} == left
  os.close(handle)


def test_folders_of_a_killed_process_are_cleared(tmp_path):
  code = 'import sys; from exgan_jax import files\n'
  code += 'it = files.temporary_folder(sys.argv[1], ".x."); it.__enter__()'
  _killed(code, tmp_path)
  assert len(os.listdir(tmp_path)) == 1
  (tmp_path / '.x.mine').mkdir()
  with (
    files.temporary_folder(tmp_path, '.x.') as one,
    files.temporary_folder(tmp_path, '.x.') as other,
  ):
    assert {*os.listdir(tmp_path)} == {'.x.mine', one.name, other.name}
  assert os.listdir(tmp_path) == ['.x.mine']
