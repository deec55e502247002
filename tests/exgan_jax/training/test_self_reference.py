"""Training pairs of one picture, and people who have no more."""

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
  """Nobody has more than one."""
  return _build(
    tmp_path_factory.mktemp('singles'), lambda task: task.picture == 0
  )


def _config(data_dir, share, preset='transfer', **fields):
  return config_lib.make(
    preset, 'tiny', dataset='synth_id', data_dir=data_dir, resolution=32,
    batch_size=4, reader_threads=2, self_reference=share, **fields,
  )  # fmt: skip


def _take(config, count, *process):
  batches = train_batches.train_batches(config, *process)
  return list(itertools.islice(batches, count))


def _assert_same(batches, others):
  for batch, other in zip(batches, others, strict=True):
    assert batch.keys() == other.keys()
    for name in batch:
      np.testing.assert_array_equal(batch[name], other[name])


def _records(data_dir):
  return train_batches.Records(data_dir, 'synth_id', 'train')


def _by_picture(records):
  return {
    decode(records[i].image, 32)[0].tobytes(): records[i]
    for i in range(len(records))
  }


def test_how_many_have_a_partner_is_found_without_a_scan(mixed, monkeypatch):
  records = _records(mixed)
  sizes = [records[i].identity_size for i in range(len(records))]
  reads = []
  read = train_batches.Records._read
  monkeypatch.setattr(
    train_batches.Records, '_read',
    lambda self, at: reads.append(at) or read(self, at),
  )  # fmt: skip
  assert 0 < records.paired < len(records)
  assert sizes == [3] * records.paired + [1] * (len(records) - records.paired)
  assert len(reads) <= math.log2(len(records)) + 1


@pytest.mark.parametrize('share', [0.25, 0.6, 1.0])
def test_the_share_of_pairs_of_one_picture(mixed, share):
  records = _by_picture(_records(mixed))
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
      one, other = records[image.tobytes()], records[reference.tobytes()]
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
  # Of all records, those with a partner and those without one.
  if 60 * 4 * share > len(records):
    assert seen == {record.filename for record in records.values()}


@pytest.mark.parametrize('preset', ['transfer', 'reference', 'code', 'gan'])
def test_singles_are_in_no_other_pair(mixed, preset):
  records = _by_picture(_records(mixed))
  for batch in _take(_config(mixed, 0.0, preset), 40):
    assert 'is_self' not in batch
    for image in batch['image']:
      assert records[image.tobytes()].identity_size == 3


@pytest.mark.parametrize('processes', [2, 4])
def test_the_order_follows_from_the_configuration_alone(mixed, processes):
  config = _config(mixed, 0.4)
  whole = _take(config, 6)
  _assert_same(_take(config, 6), whole)
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


def test_the_iterator_goes_on_where_it_was(mixed):
  config = _config(mixed, 0.4)
  iterator = train_batches.train_batches(config)
  list(itertools.islice(iterator, 7))
  position = iterator.get_state()
  expected = list(itertools.islice(iterator, 5))
  restored = train_batches.train_batches(config)
  restored.set_state(position)
  _assert_same(list(itertools.islice(restored, 5)), expected)


def test_singles_alone_train_with_pairs_of_one_picture_alone(singles, tmp_path):
  config = _config(
    singles, 1.0, workdir=str(tmp_path / 'run'), steps=2, generator_width=4,
    discriminator_width=4, dilations=1,
  )  # fmt: skip
  # There is nobody to show a sample of.
  assert sample_source(config) is None
  assert int(train(config).step) == 2
  assert not (tmp_path / 'run' / 'samples').exists()
  for share, preset in ((0.9, 'transfer'), (0.0, 'reference'), (0.0, 'gan')):
    with pytest.raises(InputError, match='nobody in the train split') as caught:
      train_batches.train_batches(_config(singles, share, preset))
    advises = '--self-reference 1' in str(caught.value)
    assert advises == (preset != 'gan') and '\n' not in str(caught.value)


def test_an_evaluation_leaves_singles_out(mixed, singles):
  records = _records(mixed)
  single = records[len(records) - 1]
  for ask in (
    lambda: eval_batches.next_positions(len(records) - 1, single, 1),
    lambda: eval_batches.evaluation_positions(_records(singles), 'train'),
    lambda: train_batches.RandomPair(records).random_map(
      len(records) - 1, np.random.default_rng(0)
    ),
  ):
    with pytest.raises(InputError, match=r'no other picture|two pictures'):
      ask()
  positions = eval_batches.evaluation_positions(records, 'train')
  assert list(positions) == list(range(records.paired))
  known = _by_picture(records)
  batches = list(eval_batches.evaluation_batches(records, 'train', 32, 4))
  rows = {row for batch in batches for row in batch.rows[batch.inputs['valid']]}
  assert len(rows) == records.paired
  for batch in batches:
    assert batch.has_stranger[batch.inputs['valid']].all()
    for pictures in (
      batch.inputs['image'],
      batch.inputs['reference'],
      batch.stranger['reference'],
    ):
      for picture in pictures:
        assert known[picture.tobytes()].identity_size == 3
