"""Pictures beside results: to disk and back, and what is something else."""

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


def _arrays(**changes):
  one = _gallery()
  arrays = {'filenames': np.asarray(one.filenames)}
  arrays |= {f'columns/{name}': x for name, x in one.columns.items()}
  arrays |= {f'places/{name}': x for name, x in one.places.items()}
  return arrays | changes


def test_a_gallery_comes_back_as_it_was_saved(tmp_path):
  path = tmp_path / 'new' / 'results.npz'
  saved = _gallery()
  saved.save(path)
  found = gallery.load(path)
  assert found.filenames == saved.filenames
  for before, after in (
    (saved.columns, found.columns),
    (saved.places, found.places),
  ):
    assert before.keys() == after.keys()
    for name, array in before.items():
      assert after[name].dtype == array.dtype
      np.testing.assert_array_equal(after[name], array)
  assert [file.name for file in path.parent.iterdir()] == ['results.npz']


def _npz(path, arrays):
  with path.open('wb') as file:
    np.savez_compressed(file, **arrays)


PICTURES = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
  'changes',
  [
    {'filenames': np.zeros(2)},
    {'filenames': np.asarray(['one'])},
    {'filenames': np.asarray([['a'], ['b']])},
    # No character has that number.
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
  ],
)
def test_wrong_arrays_are_one_clear_line(tmp_path, changes):
  _npz(tmp_path / 'results.npz', _arrays(**changes))
  _assert_one_line(tmp_path / 'results.npz')


def test_no_columns_or_rows_are_one_clear_line(tmp_path):
  path = tmp_path / 'results.npz'
  _npz(path, {'filenames': np.asarray(['a', 'b'])})
  _assert_one_line(path)
  none = {name: array[:0] for name, array in _arrays().items()}
  _npz(path, none)
  _assert_one_line(path)


@pytest.mark.parametrize('data', [b'', b'PK\x03\x04', b'\x93NUMPY', b'{}'])
def test_what_is_no_archive_is_one_clear_line(tmp_path, data):
  path = tmp_path / 'results.npz'
  path.write_bytes(data)
  _assert_one_line(path)


def test_a_cut_archive_is_one_clear_line(tmp_path):
  path = tmp_path / 'results.npz'
  _gallery().save(path)
  path.write_bytes(path.read_bytes()[:-30])
  _assert_one_line(path)


def test_an_archive_of_other_files_is_one_clear_line(tmp_path):
  path = tmp_path / 'results.npz'
  _gallery().save(path)
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr('columns/original.npy', 'not an array')
  _assert_one_line(path)


class _Bomb:
  def __reduce__(self):
    return open, (self.path, 'w')


def test_a_pickle_inside_is_not_run(tmp_path):
  _Bomb.path = str(tmp_path / 'was run')
  path = tmp_path / 'results.npz'
  array = np.empty(2, object)
  array[:] = _Bomb()
  file = io.BytesIO()
  np.lib.format.write_array(file, array, allow_pickle=True)
  for data in (file.getvalue(), pickle.dumps(_Bomb())):
    (tmp_path / 'was run').unlink(missing_ok=True)
    with zipfile.ZipFile(path, 'w') as archive:
      archive.writestr('columns/input.npy', data)
    _assert_one_line(path)
    assert not (tmp_path / 'was run').exists()


def test_an_archive_that_would_fill_the_memory_is_refused(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(gallery, 'MAX_BYTES', 2**20)
  path = tmp_path / 'results.npz'
  _gallery(side=512).save(path)
  assert path.stat().st_size < 2**20
  _assert_one_line(path, match='more than')


def test_a_missing_gallery_is_one_clear_line(tmp_path):
  _assert_one_line(tmp_path / 'results.npz', match='cannot read')


def _assert_one_line(path, match=r'results\.npz'):
  with pytest.raises(InputError, match=match) as caught:
    gallery.load(path)
  assert '\n' not in str(caught.value)
