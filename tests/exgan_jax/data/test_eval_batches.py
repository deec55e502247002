"""What an evaluation sees: pairing, truth, strangers, irises."""

import numpy as np
import pytest

from exgan_jax.data import eval_batches, train_batches
from exgan_jax.face_records.codec import decode


def test_evaluation_follows_the_paper_s_pairing(synth_data):
  records = train_batches.Records(synth_data, 'synth_id', 'test')
  shown, pictures, references, valid = [], [], [], 0
  for batch in eval_batches.evaluation_batches(
    records, 'test', 64, batch_size=4
  ):
    rows = batch.inputs['valid']
    shown += batch.rows[rows].tolist()
    pictures += list(batch.inputs['image'][rows])
    references += list(batch.inputs['reference'][rows])
    valid += rows.sum()
    assert batch.inputs['image'].shape[0] == 4
  assert shown == list(range(len(records)))
  assert valid == len(records) == 9
  for i in range(0, 9, 3):
    for place in range(3):
      np.testing.assert_array_equal(
        references[i + place], pictures[i + (place + 1) % 3]
      )


def test_closed_pairs_have_the_open_scene_as_truth(synth_data):
  records = train_batches.Records(synth_data, 'synth_id', 'closed')
  batch = next(
    eval_batches.evaluation_batches(records, 'closed', 64, batch_size=2)
  )
  shut, truth = batch.inputs['image'], batch.truth
  assert batch.has_truth.tolist() == [True, True]
  assert batch.rows.tolist() == [0, 1]
  assert (shut != truth).any()
  # Outside the eyes it is the same scene, but for what JPEG makes of it.
  corner = (slice(None), slice(0, 12))
  assert np.abs(shut[corner].astype(int) - truth[corner]).max() < 16


@pytest.mark.parametrize(('batch_size', 'processes'), [(4, 2), (6, 3), (32, 8)])
def test_processes_share_out_every_batch(synth_data, batch_size, processes):
  records = train_batches.Records(synth_data, 'synth_id', 'test')
  whole = eval_batches.evaluation_batches(records, 'test', 64, batch_size)
  parts = [
    eval_batches.evaluation_batches(
      records, 'test', 64, batch_size,
      process_index=index, process_count=processes,
    )
    for index in range(processes)
  ]  # fmt: skip
  # Nine pictures: the last batch is not full, and some get nothing of it.
  for batch, *shared in zip(whole, *parts, strict=True):
    for name in ('image', 'reference', 'valid'):
      both = np.concatenate([part.inputs[name] for part in shared])
      np.testing.assert_array_equal(both, batch.inputs[name])
    both = np.concatenate([part.rows for part in shared])
    np.testing.assert_array_equal(both, batch.rows)


def _of_person(records, picture, resolution=64):
  """Identities whose records hold a picture."""
  return {
    record.identity
    for record in map(records.__getitem__, range(len(records)))
    if (decode(record.image, resolution)[0] == picture).all()
  }


@pytest.mark.parametrize('split', ['test', 'closed'])
def test_a_stranger_is_somebody_else_whatever_the_batch_size(synth_data, split):
  records = train_batches.Records(synth_data, 'synth_id', split)
  seen = []
  positions = eval_batches.evaluation_positions(records, split)
  people = eval_batches.listing(records, positions).identities
  for batch_size in (2, 4):
    strangers = []
    for batch in eval_batches.evaluation_batches(
      records, split, 64, batch_size
    ):
      count = batch.inputs['valid'].sum()
      identities = [people[row] for row in batch.rows[:count]]
      assert batch.has_stranger.tolist() == batch.inputs['valid'].tolist()
      strangers += list(batch.stranger['reference'][:count])
      for identity, picture in zip(identities, strangers[-count:], strict=True):
        found = _of_person(records, picture)
        assert found and identity not in found
    seen.append(strangers)
  np.testing.assert_array_equal(seen[0], seen[1])


def test_nobody_is_a_stranger_among_pictures_of_one_person(synth_data):
  records = train_batches.Records(synth_data, 'synth_id', 'test')

  class First:
    paired = 3

    def __len__(self):
      return 3

    def __getitem__(self, position):
      return records[position]

  batch = next(eval_batches.evaluation_batches(First(), 'test', 64, 4))
  assert not batch.has_stranger.any()


def test_several_references_come_in_turn_and_are_never_the_picture(synth_data):
  records = train_batches.Records(synth_data, 'synth_id', 'test')
  one, three = (
    next(
      eval_batches.evaluation_batches(records, 'test', 64, 4, references=count)
    )
    for count in (1, 3)
  )
  pictures = one.inputs['image']
  assert three.inputs['reference'].shape == (4, 3, 64, 64, 3)
  assert three.inputs['reference_eyes'].shape == (4, 3, 2, 2)
  # Three pictures of the first person: after two references they come again.
  for picture, places in ((0, (1, 2, 1)), (1, (2, 0, 2)), (2, (0, 1, 0))):
    np.testing.assert_array_equal(
      three.inputs['reference'][picture], pictures[list(places)]
    )
  for name, value in one.inputs.items():
    np.testing.assert_array_equal(three.shown[name], value)


def test_irises_are_scaled_with_the_picture(synth_data):
  records = train_batches.Records(synth_data, 'synth_id', 'test')
  batch = next(eval_batches.evaluation_batches(records, 'test', 64, 2))
  stored = records[0].irises
  np.testing.assert_allclose(batch.irises[0, :, :2], (stored[:, :2] - 0.5) / 2)
  np.testing.assert_allclose(batch.irises[0, :, 2], stored[:, 2] / 2)
  inside = np.linalg.norm(
    batch.irises[0, :, :2] - batch.inputs['eyes'][0], axis=-1
  )
  assert (inside < 3).all()
