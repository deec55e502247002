"""Inception weights from a file of unknown origin."""

import hashlib
import importlib.util
import io
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from exgan_jax.errors import InputError
from exgan_jax.evaluation import inception_weights
from exgan_jax.face_records import cached_file


@pytest.fixture(scope='module')
def weights():
  """A different constant for each layer."""
  return {
    name: np.full(shape, 1 + i / 1000, np.float32)
    for i, (name, shape) in enumerate(
      inception_weights.published_shapes().items()
    )
  }


def _torch():
  return pytest.importorskip('torch', reason='opening the published file')


def _publish(weights, path, monkeypatch):
  """Writes a file in the published format with a hash that is accepted."""
  torch = _torch()
  state = {name: torch.from_numpy(array) for name, array in weights.items()}
  for name in list(state):
    if name.endswith('running_var'):
      number = name.replace('running_var', 'num_batches_tracked')
      state[number] = torch.tensor(0)
  torch.save(state, path)
  monkeypatch.setattr(inception_weights, 'SHA256', cached_file.sha256_of(path))


def _assert_same(found, expected):
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    np.testing.assert_array_equal(found[name], array)


def test_has_the_published_layout():
  shapes = inception_weights.published_shapes()
  assert sum(name.endswith('.conv.weight') for name in shapes) == 94
  assert shapes['Conv2d_1a_3x3.conv.weight'] == (32, 3, 3, 3)
  assert shapes['Mixed_6b.branch7x7_2.conv.weight'] == (128, 128, 1, 7)
  assert shapes['Mixed_7c.branch3x3dbl_3b.bn.running_var'] == (384,)
  assert shapes['fc.weight'] == (1008, 2048)


def test_is_converted_once(weights, cache, tmp_path, monkeypatch):
  path = tmp_path / 'published.pth'
  _publish(weights, path, monkeypatch)
  _assert_same(inception_weights.load(path), weights)
  assert [p.name for p in cache.iterdir()] == [
    'inception-2015-12-05.safetensors'
  ]

  def convert(path):
    raise AssertionError('converted a second time')

  monkeypatch.setattr(inception_weights, 'convert', convert)
  _assert_same(inception_weights.load(path), weights)
  _assert_same(inception_weights.load('download'), weights)


def test_is_downloaded_once_and_checked(weights, cache, tmp_path, monkeypatch):
  path = tmp_path / 'published.pth'
  _publish(weights, path, monkeypatch)
  data = path.read_bytes()
  monkeypatch.setattr(inception_weights, 'BYTES', len(data))
  answers = [data[:-1] + b'x', data]
  monkeypatch.setattr(
    'urllib.request.urlopen', lambda url, timeout: io.BytesIO(answers.pop(0))
  )
  with pytest.raises(InputError, match='SHA-256'):
    inception_weights.load('download')
  assert not cache.exists()
  _assert_same(inception_weights.load('download'), weights)
  assert not answers


def test_another_file_is_refused(weights, cache, tmp_path, monkeypatch):
  path = tmp_path / 'published.pth'
  _publish(weights, path, monkeypatch)
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)
  with pytest.raises(InputError, match='not the published file') as error:
    inception_weights.load(path)
  assert '\n' not in str(error.value)
  with pytest.raises(InputError, match='no Inception weights at'):
    inception_weights.load(tmp_path / 'nothing.pth')
  assert not cache.exists()


class _Code:
  def __reduce__(self):
    return os.mkdir, ('was here',)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch):
  _torch()
  monkeypatch.chdir(tmp_path)
  plain = tmp_path / 'plain.pth'
  plain.write_bytes(pickle.dumps({'fc.weight': _Code()}))
  zipped = tmp_path / 'zipped.pth'
  with zipfile.ZipFile(zipped, 'w') as archive:
    archive.writestr('archive/data.pkl', pickle.dumps({'fc.weight': _Code()}))
    archive.writestr('archive/version', '3\n')
  for path in (plain, zipped):
    with pytest.raises(InputError, match='is not a file of weights only') as e:
      inception_weights.load_unverified(path)
    assert '\n' not in str(e.value)
  assert not pathlib.Path('was here').exists()


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda array: None, 'has no weights fc.weight'),
    (
      lambda array: array.T.copy(),
      r'has fc.weight as float32\[2048, 1008\], not float32\[1008, 2048\]',
    ),
    (lambda array: array.astype(np.float16), 'has fc.weight as float16'),
    (lambda array: array * np.float32(np.nan), 'not finite'),
  ],
)
def test_another_layout_is_refused(weights, tmp_path, change, message):
  changed = weights | {'fc.weight': change(weights['fc.weight'])}
  path = tmp_path / 'weights.safetensors'
  safetensors.numpy.save_file(
    {name: array for name, array in changed.items() if array is not None}, path
  )
  with pytest.raises(InputError, match=message):
    inception_weights.load_unverified(path)


@pytest.mark.parametrize('name', ['a.safetensors', 'a.pth', 'missing.pth'])
def test_other_bytes_are_refused(tmp_path, name):
  if name == 'a.pth':
    _torch()
  if name != 'missing.pth':
    (tmp_path / name).write_bytes(b'no weights' * 100)
  with pytest.raises(InputError) as error:
    inception_weights.load_unverified(tmp_path / name)
  assert '\n' not in str(error.value)


def test_a_damaged_cache_is_made_anew(weights, cache, tmp_path, monkeypatch):
  path = tmp_path / 'published.pth'
  _publish(weights, path, monkeypatch)
  cache.mkdir(parents=True)
  (cache / 'inception-2015-12-05.safetensors').write_bytes(b'half a file')
  _assert_same(inception_weights.load(path), weights)


def test_a_hash_tells_weights_apart(weights):
  other = dict(weights)
  name = 'Mixed_5b.branch1x1.bn.bias'
  other[name] = other[name].copy()
  other[name][3] += 1
  one = inception_weights.hash_of(weights)
  assert one == inception_weights.hash_of(dict(reversed(weights.items())))
  assert one != inception_weights.hash_of(other)
  assert len(one) == len(hashlib.sha256().hexdigest())


def test_says_what_to_install_without_pytorch(tmp_path, monkeypatch):
  if importlib.util.find_spec('torch'):
    monkeypatch.setitem(__import__('sys').modules, 'torch', None)
  (tmp_path / 'a.pth').write_bytes(b'')
  with pytest.raises(InputError, match=r'exgan_jax\[inception\]'):
    inception_weights.load_unverified(tmp_path / 'a.pth')
