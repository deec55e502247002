"""The gallery file: round trip, and files that are something else."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from exgan_jax.errors import InputError
from exgan_jax.evaluation import gallery
from exgan_jax.evaluation.gallery import Gallery


def _gallery(rows=2, side=8):
  pictures = np.arange(rows * side * side * 3, dtype=np.uint32) % 256
  pictures = pictures.astype(np.uint8).reshape(rows, side, side, 3)
  eyes = np.full((rows, 2, 2), 3.5, np.float32)
  return Gallery(
    [f'é {row}.jpg' for row in range(rows)],
    {'input': pictures, 'after stranger': 255 - pictures},
    {'eyes': eyes, 'reference_eyes': eyes + 1},
  )


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'results.npz'


def _assert_refused(path, match=r'results\.npz'):
  with pytest.raises(InputError, match=match) as caught:
    gallery.load(path)
  assert '\n' not in str(caught.value)


def test_round_trip(tmp_path):
  path = tmp_path / 'new' / 'results.npz'
  saved = _gallery()
  saved.save(path)
  found = gallery.load(path)
  assert found.filenames == saved.filenames
  for part in ('columns', 'places'):
    before, after = getattr(saved, part), getattr(found, part)
    assert before.keys() == after.keys()
    for name, array in before.items():
      np.testing.assert_array_equal(after[name], array, strict=True)
  assert [file.name for file in path.parent.iterdir()] == ['results.npz']


PICTURES = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
  'changes',
  [
    {'filenames': np.zeros(2)},
    {'filenames': np.asarray(['one'])},
    {'filenames': np.asarray([['a'], ['b']])},
    # Not a Unicode code point.
    {'filenames': np.asarray([0x110000, 65], np.uint32).view('<U1')},
    {'columns/input': PICTURES.astype(np.float32)},
    {'columns/input': PICTURES[:1]},
    {'columns/input': PICTURES[..., :1]},
    {'columns/input': PICTURES[0]},
    {'columns/input': PICTURES[:, :4]},
    {'places/eyes': np.zeros((2, 2, 2))},
    {'places/eyes': np.zeros((2, 2), np.float32)},
    {'places/eyes': np.full((2, 2, 2), np.nan, np.float32)},
    {'more\nthan that': PICTURES},
    None,
  ],
)
def test_wrong_arrays_are_refused(path, changes):
  one = _gallery()
  arrays = {'filenames': np.asarray(one.filenames)}
  if changes is not None:  # Else there are no columns.
    arrays |= {f'columns/{name}': x for name, x in one.columns.items()}
    arrays |= {f'places/{name}': x for name, x in one.places.items()}
    arrays |= changes
  np.savez_compressed(path, **arrays)
  _assert_refused(path)


def test_no_rows_are_refused(path):
  _gallery(rows=0).save(path)
  _assert_refused(path)


@pytest.mark.parametrize('data', [b'', b'PK\x03\x04', b'\x93NUMPY', b'{}'])
def test_other_files_are_refused(path, data):
  path.write_bytes(data)
  _assert_refused(path)


def test_a_truncated_archive_is_refused(path):
  _gallery().save(path)
  path.write_bytes(path.read_bytes()[:-30])
  _assert_refused(path)


def test_an_archive_of_other_files_is_refused(path):
  _gallery().save(path)
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr('columns/original.npy', 'not an array')
  _assert_refused(path)


class _Bomb:
  def __reduce__(self):
    return open, (self.path, 'w')


def test_pickles_are_not_run(path):
  _Bomb.path = str(path.with_name('was run'))
  array = np.empty(2, object)
  array[:] = _Bomb()
  file = io.BytesIO()
  np.lib.format.write_array(file, array, allow_pickle=True)
  for data in (file.getvalue(), pickle.dumps(_Bomb())):
    with zipfile.ZipFile(path, 'w') as archive:
      archive.writestr('columns/input.npy', data)
    _assert_refused(path)
    assert not path.with_name('was run').exists()


def test_a_zip_bomb_is_not_unpacked(path, monkeypatch):
  monkeypatch.setattr(gallery, 'MAX_BYTES', 2**20)
  _gallery(side=512).save(path)
  assert path.stat().st_size < 2**20
  _assert_refused(path, match='more than')


def test_a_missing_file_is_refused(path):
  _assert_refused(path, match='cannot read')
