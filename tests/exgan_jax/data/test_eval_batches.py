"""Evaluation batches: pairing, ground truth, strangers, irises."""

import functools

import numpy as np
import pytest

from exgan_jax.data import eval_batches, train_batches
from exgan_jax.face_records.codec import decode


def _records(data_dir, split='test'):
  return train_batches.Records(data_dir, 'synth_id', split)


@pytest.fixture
def batches(synth_data):
  """Makes batches of the nine pictures of `test`."""
  return functools.partial(
    eval_batches.evaluation_batches, _records(synth_data), 'test', 64
  )


def test_every_picture_has_the_next_one_as_reference(batches):
  rows, pictures, references = [], [], []
  for batch in batches(4):
    valid = batch.inputs['valid']
    assert len(valid) == len(batch.inputs['image']) == 4
    rows += batch.rows[valid].tolist()
    pictures += list(batch.inputs['image'][valid])
    references += list(batch.inputs['reference'][valid])
  assert rows == list(range(9))
  for i in range(9):
    following = i - i % 3 + (i + 1) % 3
    np.testing.assert_array_equal(references[i], pictures[following])


def test_closed_pairs_have_the_open_scene_as_truth(synth_data):
  records = _records(synth_data, 'closed')
  batch = next(
    eval_batches.evaluation_batches(records, 'closed', 64, batch_size=2)
  )
  closed, truth = batch.inputs['image'], batch.truth
  assert batch.has_truth.tolist() == [True, True]
  assert batch.rows.tolist() == [0, 1]
  assert (closed != truth).any()
  # The background only differs by JPEG compression.
  corner = (slice(None), slice(0, 12))
  assert np.abs(closed[corner].astype(int) - truth[corner]).max() < 16


@pytest.mark.parametrize(('batch_size', 'processes'), [(4, 2), (6, 3), (32, 8)])
def test_batches_are_split_between_processes(batches, batch_size, processes):
  parts = [
    batches(batch_size, process_index=index, process_count=processes)
    for index in range(processes)
  ]
  # The last batch is not full, and some processes only get padding.
  for batch, *shared in zip(batches(batch_size), *parts, strict=True):
    for name in ('image', 'reference', 'valid'):
      joined = np.concatenate([part.inputs[name] for part in shared])
      np.testing.assert_array_equal(joined, batch.inputs[name])
    joined = np.concatenate([part.rows for part in shared])
    np.testing.assert_array_equal(joined, batch.rows)


@pytest.mark.parametrize('split', ['test', 'closed'])
def test_strangers_do_not_depend_on_the_batch_size(synth_data, split):
  records = _records(synth_data, split)
  owners = {}
  for record in map(records.__getitem__, range(len(records))):
    picture = decode(record.image, 64)[0].tobytes()
    owners.setdefault(picture, set()).add(record.identity)
  positions = eval_batches.evaluation_positions(records, split)
  people = eval_batches.listing(records, positions).identities
  seen = []
  for batch_size in (2, 4):
    strangers = []
    for batch in eval_batches.evaluation_batches(
      records, split, 64, batch_size
    ):
      valid = batch.inputs['valid']
      assert batch.has_stranger.tolist() == valid.tolist()
      strangers += list(batch.stranger['reference'][valid])
    for identity, picture in zip(people, strangers, strict=True):
      assert identity not in owners[picture.tobytes()]
    seen.append(strangers)
  np.testing.assert_array_equal(*seen)


def test_a_single_person_has_no_strangers(synth_data):
  records = _records(synth_data)

  class First:
    paired = 3

    def __len__(self):
      return 3

    def __getitem__(self, position):
      return records[position]

  batch = next(eval_batches.evaluation_batches(First(), 'test', 64, 4))
  assert not batch.has_stranger.any()


def test_several_references_are_the_next_pictures(batches):
  one, three = (next(batches(4, references=count)) for count in (1, 3))
  pictures = one.inputs['image']
  assert three.inputs['reference'].shape == (4, 3, 64, 64, 3)
  assert three.inputs['reference_eyes'].shape == (4, 3, 2, 2)
  # Each person has three pictures, so the first reference is repeated.
  for picture, places in ((0, (1, 2, 1)), (1, (2, 0, 2)), (2, (0, 1, 0))):
    np.testing.assert_array_equal(
      three.inputs['reference'][picture], pictures[list(places)]
    )
  for name, value in one.inputs.items():
    np.testing.assert_array_equal(three.shown[name], value)


def test_irises_are_scaled_with_the_picture(synth_data, batches):
  batch = next(batches(2))
  stored = _records(synth_data)[0].irises
  centers = batch.irises[0, :, :2]
  np.testing.assert_allclose(centers, (stored[:, :2] - 0.5) / 2)
  np.testing.assert_allclose(batch.irises[0, :, 2], stored[:, 2] / 2)
  assert np.linalg.norm(centers - batch.inputs['eyes'][0], axis=-1).max() < 3
