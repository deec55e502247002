"""What is kept of the originals comes back; nothing else is taken for it."""

import pickle
import zipfile

import numpy as np
import pytest

from exgan_jax.errors import InputError
from exgan_jax.evaluation import inception, real_statistics
from exgan_jax.evaluation.inception_features import KINDS
from exgan_jax.evaluation.metrics.frechet import Gaussian, frechet_distance

PROVENANCE = {'dataset': 'synth_id', 'split': 'test', 'resolution': 64}


def _gaussian(count, seed=0):
  rng = np.random.default_rng(seed)
  vectors = rng.normal(size=(count, inception.FEATURES))
  return Gaussian.from_values(vectors, np.ones(count, bool))


@pytest.fixture
def saved(tmp_path):
  gaussians = {kind: _gaussian(5, i) for i, kind in enumerate(KINDS)}
  path = tmp_path / 'new' / 'originals.npz'
  real_statistics.save(path, gaussians, PROVENANCE)
  return path, gaussians


def test_come_back_as_they_were(saved):
  path, gaussians = saved
  found = real_statistics.load(path, PROVENANCE)
  for kind in KINDS:
    assert found[kind].count == 5
    np.testing.assert_array_equal(found[kind].vectors, gaussians[kind].vectors)
    assert frechet_distance(found[kind], gaussians[kind]) < 1e-9
  assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_of_more_pictures_than_features_too(tmp_path):
  path = tmp_path / 'originals.npz'
  many = _gaussian(inception.FEATURES + 1)
  real_statistics.save(path, dict.fromkeys(KINDS, many), PROVENANCE)
  found = real_statistics.load(path, PROVENANCE)['']
  np.testing.assert_array_equal(found.products, many.products)
  assert found.vectors is None and found.count == many.count


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'split': 'train'}, "with split 'test', not 'train'"),
    ({'resolution': 128}, 'with resolution 64, not 128'),
    ({'inception_sha256': 'x'}, "with inception_sha256 None, not 'x'"),
  ],
)
def test_of_something_else_are_refused(saved, change, message):
  with pytest.raises(InputError, match=message) as caught:
    real_statistics.load(saved[0], PROVENANCE | change)
  assert '\n' not in str(caught.value)


def test_what_they_tell_more_is_refused(saved):
  with pytest.raises(InputError, match="with split 'test', not None"):
    real_statistics.load(saved[0], {'dataset': 'synth_id', 'resolution': 64})


def test_each_provenance_has_a_file_of_its_own(monkeypatch, tmp_path):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  one, same, other = (
    real_statistics.Store(provenance).path
    for provenance in (
      PROVENANCE,
      dict(reversed(PROVENANCE.items())),
      PROVENANCE | {'split': 'train'},
    )
  )
  assert one == same != other and one.is_relative_to(tmp_path)


class _Trap:
  def __reduce__(self):
    return (pytest.fail, ('code was run',))


def _arrays(**changes):
  arrays = {'provenance': np.asarray('{"format": 1}')}
  for kind in KINDS:
    vectors = np.zeros((3, inception.FEATURES))
    arrays |= {f'{kind}/count': np.asarray(3), f'{kind}/total': vectors[0]}
    arrays[f'{kind}/vectors'] = vectors
  return {
    name: array
    for name, array in (arrays | changes).items()
    if array is not None
  }


def test_hostile_arrays_would_be_whole_otherwise(tmp_path):
  np.savez(tmp_path / 'a.npz', **_arrays())
  assert real_statistics.load(tmp_path / 'a.npz', {})[''].count == 3


@pytest.mark.parametrize(
  'changes',
  [
    {'provenance': None},
    {'provenance': np.asarray('not JSON')},
    {'provenance': np.asarray('[' * 100_000)},
    {'provenance': np.asarray('[]')},
    {'/count': None},
    {'/count': np.asarray(-1)},
    {'/count': np.asarray(2)},
    {'/count': np.asarray([3, 3])},
    {'/total': np.zeros(7)},
    {'/vectors': np.full((3, inception.FEATURES), np.nan)},
    {'_hole/vectors': np.zeros((3, inception.FEATURES), np.float32)},
    {'_hole/vectors': np.array([_Trap()], dtype=object)},
  ],
)
def test_hostile_arrays_are_one_clear_line(tmp_path, changes):
  path = tmp_path / 'originals.npz'
  np.savez(path, **_arrays(**changes))
  with pytest.raises(InputError, match=r'originals\.npz') as caught:
    real_statistics.load(path, {})
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('content', [b'', b'text', pickle.dumps(_Trap())])
def test_other_files_are_one_clear_line(tmp_path, content):
  path = tmp_path / 'originals.npz'
  path.write_bytes(content)
  with pytest.raises(InputError, match='holds no Inception statistics'):
    real_statistics.load(path, {})


def test_a_bomb_is_not_unpacked(tmp_path):
  path = tmp_path / 'originals.npz'
  with (
    zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive,
    archive.open('bomb.npy', 'w', force_zip64=True) as file,
  ):
    for _ in range(1 + real_statistics.MAX_BYTES // 2**20):
      file.write(bytes(2**20))
  with pytest.raises(InputError, match='holds more than'):
    real_statistics.load(path, {})


def test_what_is_no_array_is_one_clear_line(tmp_path):
  path = tmp_path / 'originals.npz'
  np.savez(path, **_arrays())
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr('more.txt', 'text')
  with pytest.raises(InputError, match='holds more than Inception statistics'):
    real_statistics.load(path, {})


def test_no_file_is_one_clear_line(tmp_path):
  with pytest.raises(InputError, match='cannot read'):
    real_statistics.load(tmp_path / 'none.npz', PROVENANCE)
