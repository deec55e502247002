"""The file of the originals' statistics: round trip, provenance, bad files."""

import pickle
import zipfile

import numpy as np
import pytest

from exgan_jax.errors import InputError
from exgan_jax.evaluation import inception, real_statistics
from exgan_jax.evaluation.inception_features import KINDS
from exgan_jax.evaluation.metrics.frechet import Gaussian, frechet_distance
from exgan_jax.evaluation.real_statistics import Store

PROVENANCE = {'dataset': 'synth_id', 'split': 'test', 'resolution': 64}


def _gaussians(count):
  found = {}
  for seed, kind in enumerate(KINDS):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, inception.FEATURES))
    found[kind] = Gaussian.from_values(vectors, np.ones(count, bool))
  return found


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'new' / 'originals.npz'


@pytest.mark.parametrize('count', [5, inception.FEATURES + 1])
def test_round_trip(path, count):
  gaussians = _gaussians(count)
  Store(PROVENANCE, path).save(gaussians)
  found = Store(PROVENANCE, path).load()
  for kind in KINDS if count == 5 else KINDS[:1]:
    assert found[kind].count == count
    for part in ('total', 'products', 'vectors'):
      np.testing.assert_array_equal(
        getattr(found[kind], part), getattr(gaussians[kind], part)
      )
    if count == 5:
      assert frechet_distance(found[kind], gaussians[kind]) < 1e-9
  assert [other.name for other in path.parent.iterdir()] == [path.name]


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
  Store(PROVENANCE, path).save(_gaussians(5))
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
  arrays = {'provenance': np.asarray('{"format": 1}')}
  for kind in KINDS:
    vectors = np.zeros((3, inception.FEATURES))
    arrays |= {f'{kind}/count': np.asarray(3), f'{kind}/total': vectors[0]}
    arrays[f'{kind}/vectors'] = vectors
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
    {'/count': None},
    {'/count': np.asarray(-1)},
    {'/count': np.asarray(2)},
    {'/count': np.asarray(np.inf)},
    {'/count': np.asarray([3, 3])},
    {'/total': np.zeros(7)},
    {'/vectors': np.full((3, inception.FEATURES), np.nan)},
    {'_hole/vectors': np.zeros((3, inception.FEATURES), np.float32)},
    {'_hole/vectors': np.array([_Trap()], dtype=object)},
  ],
)
def test_wrong_arrays_are_refused(path, changes):
  _save(path)
  assert Store({}, path).load()[''].count == 3
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
