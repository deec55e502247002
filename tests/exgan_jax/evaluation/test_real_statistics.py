"""The file of the originals' statistics: round trip, provenance, bad files."""

import pickle
import zipfile

import numpy as np
import pytest

from exgan_jax.errors import InputError
from exgan_jax.evaluation import inception, real_statistics
from exgan_jax.evaluation.inception_features import (
  KINDS,
  Statistics,
  statistics_of,
)
from exgan_jax.evaluation.metrics import Rows
from exgan_jax.evaluation.metrics.frechet import Gaussian, frechet_distance
from exgan_jax.evaluation.real_statistics import Store

PROVENANCE = {'dataset': 'synth_id', 'split': 'test', 'resolution': 64}


def _statistics(count):
  found = {}
  for seed, kind in enumerate(KINDS):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, inception.FEATURES)).astype(np.float32)
    features = Rows((np.arange(count)[::-1],), (vectors,))
    found[kind] = statistics_of(features)
  return found


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'new' / 'originals.npz'


def test_round_trip(path):
  saved = _statistics(5)
  Store(PROVENANCE, path).save(saved)
  found = Store(PROVENANCE, path).load()
  for kind in KINDS:
    one, other = saved[kind], found[kind]
    assert other.gaussian.count == 5
    assert frechet_distance(one.gaussian, other.gaussian) < 1e-9
    for mine, theirs in zip(
      one.features.ordered(), other.features.ordered(), strict=True
    ):
      np.testing.assert_array_equal(mine, theirs)
  assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_sums_of_very_many_are_kept(path):
  total, products = np.ones(inception.FEATURES), np.eye(inception.FEATURES)
  saved = Statistics(Gaussian(3000, total, products, None), None)
  Store(PROVENANCE, path).save(dict.fromkeys(KINDS, saved))
  found = Store(PROVENANCE, path).load()['']
  assert found.gaussian.count == 3000 and found.features is None
  np.testing.assert_array_equal(found.gaussian.products, products)


@pytest.mark.parametrize(
  ('provenance', 'message'),
  [
    (PROVENANCE | {'split': 'train'}, "with split 'test', not 'train'"),
    (PROVENANCE | {'resolution': 128}, 'with resolution 64, not 128'),
    (PROVENANCE | {'inception_sha256': 'x'}, "inception_sha256 None, not 'x'"),
    ({'dataset': 'synth_id', 'resolution': 64}, "split 'test', not None"),
  ],
)
def test_another_provenance_is_refused(path, provenance, message):
  Store(PROVENANCE, path).save(_statistics(5))
  with pytest.raises(InputError, match=message) as caught:
    Store(provenance, path).load()
  assert '\n' not in str(caught.value)


def test_each_provenance_has_a_file_of_its_own(cache):
  one, same, other = (
    Store(provenance).path
    for provenance in (
      PROVENANCE,
      dict(reversed(PROVENANCE.items())),
      PROVENANCE | {'split': 'train'},
    )
  )
  assert one == same != other and one.is_relative_to(cache)
  assert Store(PROVENANCE).load() is None


class _Trap:
  def __reduce__(self):
    return (pytest.fail, ('code was run',))


def _save(path, **changes):
  arrays = {'provenance': np.asarray('{"format": 2}')}
  for kind in KINDS:
    vectors = np.zeros((3, inception.FEATURES), np.float32)
    arrays |= {f'{kind}/rows': np.arange(3), f'{kind}/features': vectors}
  arrays |= changes
  path.parent.mkdir(exist_ok=True)
  np.savez(path, **{k: v for k, v in arrays.items() if v is not None})


def _assert_refused(path, match):
  with pytest.raises(InputError, match=match) as caught:
    Store({}, path).load()
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  'changes',
  [
    {'provenance': None},
    {'provenance': np.asarray('not JSON')},
    {'provenance': np.asarray('[' * 100_000)},
    {'provenance': np.asarray('[]')},
    {'/rows': None},
    {'/rows': np.arange(2)},
    {'/rows': np.asarray(3)},
    {'/rows': np.zeros((3, 2), np.int64)},
    {'/features': None},
    {'/features': np.full((3, inception.FEATURES), np.nan, np.float32)},
    {'_hole/features': np.zeros((3, inception.FEATURES))},
    {'_hole/features': np.array([_Trap()], dtype=object)},
    {'/rows': np.full((3, 2), np.inf)},
  ],
)
def test_wrong_arrays_are_refused(path, changes):
  _save(path)
  assert Store({}, path).load()[''].gaussian.count == 3
  _save(path, **changes)
  _assert_refused(path, r'originals\.npz')


@pytest.mark.parametrize('content', [b'', b'text', pickle.dumps(_Trap())])
def test_other_files_are_refused(tmp_path, content):
  (tmp_path / 'a.npz').write_bytes(content)
  _assert_refused(tmp_path / 'a.npz', 'holds no Inception statistics')


def test_a_zip_bomb_is_not_unpacked(tmp_path):
  path = tmp_path / 'originals.npz'
  with (
    zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive,
    archive.open('bomb.npy', 'w', force_zip64=True) as file,
  ):
    for _ in range(1 + real_statistics.MAX_BYTES // 2**20):
      file.write(bytes(2**20))
  _assert_refused(path, 'holds more than')
