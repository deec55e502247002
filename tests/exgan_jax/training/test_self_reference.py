"""Training pairs of a single picture."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from exgan_jax import config as config_lib
from exgan_jax.data import eval_batches, train_batches
from exgan_jax.errors import InputError
from exgan_jax.face_records.codec import decode
from exgan_jax.training.loop import sample_source, train
from tfds_celeb_id import synth_id
from tfds_celeb_id.synth_id import scenes


def _build(data_dir, is_kept):
  """Builds a `synth_id` of some of the pictures, with singles in `train`."""
  with pytest.MonkeyPatch.context() as patch:
    make = scenes.tasks
    patch.setattr(
      scenes, 'tasks', lambda *args: list(filter(is_kept, make(*args)))
    )
    patch.setattr(synth_id.Builder, 'KEEP_SINGLES', True)
    synth_id.Builder(
      data_dir=str(data_dir), people=30, pictures=3, workers=0
    ).download_and_prepare()
  return str(data_dir)


@pytest.fixture(scope='module')
def mixed(tmp_path_factory):
  """Every third person has a single picture."""
  return _build(
    tmp_path_factory.mktemp('mixed'),
    lambda task: task.picture == 0 or task.person % 3,
  )


@pytest.fixture(scope='module')
def singles(tmp_path_factory):
  """Every person has a single picture."""
  return _build(
    tmp_path_factory.mktemp('singles'), lambda task: task.picture == 0
  )


@pytest.fixture
def records(mixed):
  return train_batches.Records(mixed, 'synth_id', 'train')


@pytest.fixture
def known(records):
  """Pictures to records."""
  return {
    decode(record.image, 32)[0].tobytes(): record
    for record in map(records.__getitem__, range(len(records)))
  }


def _config(data_dir, share, preset='transfer', **fields):
  return config_lib.make(
    preset,
    'tiny',
    **{'dataset': 'synth_id', 'data_dir': data_dir, 'self_reference': share},
    **{'resolution': 32, 'batch_size': 4, 'reader_threads': 2, **fields},
  )


def _take(config, count, *process):
  batches = train_batches.train_batches(config, *process)
  return list(itertools.islice(batches, count))


def _assert_same(batches, others):
  for batch, other in zip(batches, others, strict=True):
    assert batch.keys() == other.keys()
    for name in batch:
      np.testing.assert_array_equal(batch[name], other[name])


def test_pairs_are_counted_without_a_scan(records, monkeypatch):
  sizes = [records[i].identity_size for i in range(len(records))]
  reads = []
  read = train_batches.Records._read

  def count(self, position):
    reads.append(position)
    return read(self, position)

  monkeypatch.setattr(train_batches.Records, '_read', count)
  assert 0 < records.paired < len(records)
  assert sizes == [3] * records.paired + [1] * (len(records) - records.paired)
  assert len(reads) <= math.log2(len(records)) + 1


@pytest.mark.parametrize('share', [0.25, 0.6, 1.0])
def test_the_share_of_pairs_of_one_picture(mixed, known, share):
  config = _config(mixed, share)
  seen = set()
  batches = _take(config, 60)
  for batch in batches:
    assert {k: (v.shape[1:], v.dtype) for k, v in batch.items()} == (
      train_batches.batch_shapes(config)
    )
    for image, reference, is_self in zip(
      batch['image'], batch['reference'], batch['is_self'], strict=True
    ):
      one, other = known[image.tobytes()], known[reference.tobytes()]
      assert (one.filename == other.filename) == is_self
      assert one.identity == other.identity
      if is_self:
        seen.add(one.filename)
    np.testing.assert_array_equal(
      batch['corners'][batch['is_self']],
      batch['reference_corners'][batch['is_self']],
    )
  mean = np.mean([batch['is_self'] for batch in batches])
  assert mean == pytest.approx(share, abs=0.01)
  # They use all records, with and without a partner.
  if 60 * 4 * share > len(known):
    assert seen == {record.filename for record in known.values()}


@pytest.mark.parametrize('preset', ['transfer', 'reference', 'code', 'gan'])
def test_singles_are_in_no_other_pair(mixed, known, preset):
  for batch in _take(_config(mixed, 0.0, preset), 40):
    assert 'is_self' not in batch
    for image in batch['image']:
      assert known[image.tobytes()].identity_size == 3


@pytest.mark.parametrize('share', [0.0, 0.4])
def test_batches_depend_on_seed_and_position_only(mixed, share):
  config = _config(mixed, share)
  whole = _take(config, 6)
  for processes in (2, 4):
    parts = [_take(config, 6, i, processes) for i in range(processes)]
    joined = [
      {name: np.concatenate([part[name] for part in step]) for name in step[0]}
      for step in zip(*parts, strict=True)
    ]
    _assert_same(joined, whole)
  other = _take(dataclasses.replace(config, seed=1), 6)
  assert any(
    (a['image'] != b['image']).any() for a, b in zip(whole, other, strict=True)
  )
  iterator, restored = (train_batches.train_batches(config) for _ in range(2))
  for _ in range(2):
    next(iterator)
  restored.set_state(iterator.get_state())
  _assert_same(itertools.islice(restored, 4), whole[2:])


def test_training_on_single_pictures_only(singles, tmp_path):
  config = _config(
    singles,
    1.0,
    **{'workdir': str(tmp_path / 'run'), 'steps': 2, 'dilations': 1},
    **{'generator_width': 4, 'discriminator_width': 4},
  )
  # There are no pairs for samples.
  assert sample_source(config) is None
  assert int(train(config).step) == 2
  assert not (tmp_path / 'run' / 'samples').exists()
  for share, preset in ((0.9, 'transfer'), (0.0, 'reference'), (0.0, 'gan')):
    with pytest.raises(InputError, match='nobody in the train split') as caught:
      train_batches.train_batches(_config(singles, share, preset))
    advises = '--self-reference 1' in str(caught.value)
    assert advises == (preset != 'gan') and '\n' not in str(caught.value)


def test_evaluations_skip_singles(records, singles, known):
  last = len(records) - 1
  alone = train_batches.Records(singles, 'synth_id', 'train')
  rng = np.random.default_rng(0)
  for call in (
    lambda: eval_batches.next_positions(last, records[last], 1),
    lambda: eval_batches.evaluation_positions(alone, 'train'),
    lambda: train_batches.RandomPair(records).random_map(last, rng),
  ):
    with pytest.raises(InputError, match=r'no other picture|two pictures'):
      call()
  rows = []
  for batch in eval_batches.evaluation_batches(records, 'train', 32, 4):
    valid = batch.inputs['valid']
    rows += batch.rows[valid].tolist()
    assert batch.has_stranger[valid].all()
    shown = batch.inputs['image'], batch.inputs['reference']
    for picture in np.concatenate([*shown, batch.stranger['reference']]):
      assert known[picture.tobytes()].identity_size == 3
  assert rows == list(range(records.paired))
