"""Records and their splits."""

import collections
import json
import math

import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from exgan_jax.errors import InputError
from exgan_jax.face_records import example
from tfds_celeb_id import records, spill


def _entry(identity, number, opened=0.9):
  return records.Entry(
    identity,
    f'{identity}-{number}.jpg',
    np.zeros((2, 2), np.float32),
    np.ones((2, 2), np.float32),
    opened,
    1 - opened,
    {'image': f'{identity} {number}'.encode()},
  )


def _names(placed):
  return [
    (p.entry.filename, p.index_in_identity, p.identity_size) for p in placed
  ]


def test_splits_by_identity_are_stable_and_90_5_5():
  splits = [records.split_of(f'person {i}') for i in range(20_000)]
  assert splits[:4] == [records.split_of(f'person {i}') for i in range(4)]
  share = collections.Counter(splits)
  assert abs(share['train'] / 20_000 - 0.90) < 0.01
  assert abs(share['validation'] / 20_000 - 0.05) < 0.005
  assert abs(share['test'] / 20_000 - 0.05) < 0.005
  # A change would move people from one split to another.
  known = ['George_W_Bush', 'synth_000000', 'Zoë']
  assert [records.split_of(name) for name in known] == [
    'train',
    'test',
    'train',
  ]


def test_open_pictures_keep_their_order():
  entries = [_entry('b', 2), _entry('b', 1), _entry('a', 1), _entry('a', 2)]
  splits, rejected = records.arrange(entries)
  assert not rejected and not splits['closed']
  for identity, order in (('b', (2, 1)), ('a', (1, 2))):
    placed = [
      p
      for p in splits[records.split_of(identity)]
      if p.entry.identity == identity
    ]
    assert _names(placed) == [
      (f'{identity}-{number}.jpg', i, 2) for i, number in enumerate(order)
    ]


def test_pictures_of_an_identity_are_consecutive():
  people = [f'p{i}' for i in range(50)]
  entries = [_entry(p, n) for n in range(3) for p in people]
  splits, _ = records.arrange(entries)
  for placed in splits.values():
    for at, p in enumerate(placed):
      group = placed[at - p.index_in_identity :][: p.identity_size]
      assert {q.entry.identity for q in group} == {p.entry.identity}
      assert [q.index_in_identity for q in group] == [0, 1, 2]


def test_closed_pictures_are_paired_with_the_widest_open_one():
  entries = [
    _entry('a', 1, 0.7),
    _entry('a', 2, 0.1),
    _entry('a', 3, 0.95),
    _entry('a', 4, 0.59),
    _entry('a', 5, math.nan),
  ]
  splits, rejected = records.arrange(entries)
  assert not rejected
  assert _names(splits['closed']) == [
    ('a-2.jpg', 0, 2),
    ('a-3.jpg', 1, 2),
    ('a-4.jpg', 0, 2),
    ('a-3.jpg', 1, 2),
  ]
  assert _names(splits[records.split_of('a')]) == [
    ('a-1.jpg', 0, 3),
    ('a-3.jpg', 1, 3),
    ('a-5.jpg', 2, 3),
  ]


@pytest.mark.parametrize(
  ('opened', 'is_open'),
  [(0.60, True), (0.599, False), (math.nan, True), (0.0, False)],
)
def test_is_open(opened, is_open):
  assert _entry('a', 1, opened).is_open == is_open


def test_every_picture_is_in_a_record_or_rejected_with_a_reason():
  rng = np.random.default_rng(0)
  entries = [
    _entry(f'p{rng.integers(120)}', i, float(rng.random())) for i in range(300)
  ]
  splits, rejected = records.arrange(entries)
  used = {p.entry.filename for placed in splits.values() for p in placed}
  out = {each.filename for each in rejected}
  assert used | out == {entry.filename for entry in entries}
  assert not used & out and out
  assert set(records.count_reasons(rejected)) == {
    'the only usable picture of this person',
    'eyes closed, and no open-eyed picture of this person',
  }


def test_one_open_and_one_closed_picture_are_a_pair_and_no_more():
  splits, rejected = records.arrange([_entry('a', 1), _entry('a', 2, 0.0)])
  assert not rejected and not splits[records.split_of('a')]
  assert _names(splits['closed']) == [('a-2.jpg', 0, 2), ('a-1.jpg', 1, 2)]


def test_singles_are_kept_in_train_alone_and_come_last():
  entries = [_entry(f'p{i}', n) for i in range(60) for n in range(1 + i % 3)]
  entries += [_entry('p0', 9, 0.1)]
  splits, rejected = records.arrange(entries, keep_singles=True)
  without, all_rejected = records.arrange(entries)
  for split in ('validation', 'test', 'closed'):
    assert splits[split] == without[split]
  count = len(without['train'])
  assert splits['train'][:count] == without['train']
  singles = splits['train'][count:]
  expected = [f'p{i}' for i in range(0, 60, 3)]
  in_train = [name for name in expected if records.split_of(name) == 'train']
  assert [p.entry.identity for p in singles] == in_train
  assert {(p.index_in_identity, p.identity_size) for p in singles} == {(0, 1)}
  assert 0 < len(rejected) < len(all_rejected)
  assert not {r.identity for r in rejected} & set(in_train)


def test_spill_gives_the_bytes_back_in_any_order(tmp_path):
  kept = spill.Spill(tmp_path)
  spans = [kept.put(f'a {i}'.encode()) for i in range(5)]
  assert not list(tmp_path.iterdir())
  for i in (3, 0, 4):
    assert kept.get(spans[i]) == f'a {i}'.encode()
  late = kept.put(b'')
  assert kept.get(late) == b''
  assert kept.get(kept.put(b'b 0')) == b'b 0'
  kept.close()


def _serialized(**changes):
  """A good record as TFDS stores it, with some features replaced."""
  values = {
    'image': [b'jpeg'],
    'identity': ['Zoë'.encode()],
    'filename': [b'a-1.jpg'],
    'eyes': [1.0, 2.0, 3.0, 4.0],
    'boxes': [5.0, 6.0, 7.0, 8.0],
    'opened': [0.75],
    'index_in_identity': [1],
    'identity_size': [3],
  } | changes
  example = tf_example_pb2.Example()
  for name, items in values.items():
    feature = example.features.feature[name]
    for item in items:
      kind = {bytes: 'bytes_list', float: 'float_list', int: 'int64_list'}
      getattr(feature, kind[type(item)]).value.append(item)
  return example.SerializeToString()


def test_parse_reads_a_record():
  record = example.parse(_serialized())
  assert (record.identity, record.filename) == ('Zoë', 'a-1.jpg')
  np.testing.assert_array_equal(record.eyes, [[1, 2], [3, 4]])
  np.testing.assert_array_equal(record.boxes, [[5, 6], [7, 8]])
  assert (record.index_in_identity, record.identity_size) == (1, 3)
  assert record.opened == 0.75
  assert (record.image, record.truth) == (b'jpeg', b'')
  assert example.parse(_serialized(truth=[b'open'])).truth == b'open'
  single = _serialized(index_in_identity=[0], identity_size=[1])
  assert example.parse(single).identity_size == 1


def test_parse_reads_irises_where_they_are_known():
  assert example.parse(_serialized()).irises is None
  known = _serialized(irises=[1.0, 2.0, 3.5, 4.0, 5.0, 6.5])
  irises = example.parse(known).irises
  assert irises.dtype == np.float32
  np.testing.assert_array_equal(irises, [[1, 2, 3.5], [4, 5, 6.5]])


def test_parse_reads_corners_that_are_known_unknown_or_not_stored():
  corners = example.parse(
    _serialized(corners=[float(i) for i in range(8)])
  ).corners
  assert corners.dtype == np.float32
  np.testing.assert_array_equal(corners, np.arange(8).reshape(4, 2))
  for unknown in ({}, {'corners': [math.nan] * 8}):
    corners = example.parse(_serialized(**unknown)).corners
    assert corners.shape == (4, 2) and corners.dtype == np.float32
    assert np.isnan(corners).all()


@pytest.mark.parametrize(
  'changes',
  [
    {'image': []},
    {'identity': [b'\xff']},
    {'eyes': [1.0] * 5},
    {'eyes': [float('nan')] * 4},
    {'boxes': [1e12] * 4},
    {'opened': []},
    {'irises': []},
    {'irises': [1.0] * 4},
    {'irises': [1.0] * 5 + [float('nan')]},
    {'corners': []},
    {'corners': [math.nan] * 6},
    {'corners': [1.0] * 7 + [math.nan]},
    {'corners': [1.0] * 7 + [math.inf]},
    {'corners': [1e12] * 8},
    {'identity_size': [0]},
    {'index_in_identity': [3]},
    {'index_in_identity': [-1]},
    {'index_in_identity': []},
  ],
)
def test_parse_refuses_invalid_records(changes):
  with pytest.raises(InputError) as caught:
    example.parse(_serialized(**changes))
  assert '\n' not in str(caught.value)
  with pytest.raises(InputError):
    example.parse(b'not a record')


def test_names_are_the_same_on_every_system():
  assert records.readable_name('Zoe\u0308') == 'Zo\u00eb'
  assert records.readable_name('caf\udce9.jpg') == 'caf?.jpg'


def test_rejected_pictures_are_listed_one_per_line(tmp_path):
  path = tmp_path / 'rejected.jsonl'
  records.write_rejected(
    [records.Rejected('Zoë', 'Zoë/a\n1.jpg', 'no face')] * 2, path
  )
  lines = path.read_text().splitlines()
  assert len(lines) == 2
  assert json.loads(lines[0]) == {
    'identity': 'Zoë',
    'filename': 'Zoë/a\n1.jpg',
    'reason': 'no face',
  }
