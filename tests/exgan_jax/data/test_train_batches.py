"""From records to batches: pairs, order, scale, resume."""

import dataclasses
import io
import itertools
import json
import pathlib
import shutil

import grain
import numpy as np
import pytest
from PIL import Image

from exgan_jax import config as config_lib
from exgan_jax.data import train_batches
from exgan_jax.errors import InputError
from exgan_jax.face_records import parallel
from exgan_jax.face_records.codec import decode
from exgan_jax.face_records.record import UNKNOWN_CORNERS


def _config(data_dir, preset='reference', **fields):
  return config_lib.make(
    preset, 'tiny', dataset='synth_id', data_dir=data_dir,
    resolution=64, batch_size=4, reader_threads=2, **fields,
  )  # fmt: skip


def _take(iterator, count):
  return list(itertools.islice(iterator, count))


def _assert_same(batches, others):
  for batch, other in zip(batches, others, strict=True):
    assert batch.keys() == other.keys()
    for name in batch:
      np.testing.assert_array_equal(batch[name], other[name])


@pytest.mark.parametrize('preset', ['gan', 'reference', 'code', 'compressor'])
def test_shapes_are_told_without_data(synth_data, preset):
  config = _config(synth_data, preset)
  batch = next(train_batches.train_batches(config))
  assert {k: (v.shape[1:], v.dtype) for k, v in batch.items()} == (
    train_batches.batch_shapes(config)
  )


@pytest.mark.parametrize('preset', ['gan', 'compressor'])
def test_who_is_told_nothing_gets_the_same_pictures_alone(synth_data, preset):
  told = train_batches.train_batches(_config(synth_data))
  alone = train_batches.train_batches(_config(synth_data, preset))
  for batch in _take(told, 20):
    expected = {k: v for k, v in batch.items() if 'reference' not in k}
    _assert_same([next(alone)], [expected])
  assert alone.get_state() == told.get_state() == {'next_index': 20}


def test_the_order_is_that_of_older_checkpoints(synth_data):
  # Written out: who goes on with a run relies on each of these.
  records = train_batches.Records(synth_data, 'synth_id', 'train')

  def draw(position, rng):
    target = records[position]
    others = [i for i in range(3) if i != target.index_in_identity]
    other = others[rng.integers(2)] - target.index_in_identity
    return train_batches.pair(target, records[position + other], 64)

  expected = (
    grain.MapDataset.range(len(records)).seed(5).shuffle().repeat()
    .random_map(draw).batch(4, drop_remainder=True)
  )  # fmt: skip
  iterator = train_batches.train_batches(_config(synth_data, seed=5))
  batches = _take(iterator, 50)
  _assert_same(batches, _take(iter(expected.to_iter_dataset()), 50))
  assert iterator.get_state() == {'next_index': 50}


def test_a_reference_is_another_picture_of_the_same_person(synth_data):
  records = train_batches.Records(synth_data, 'synth_id', 'train')
  by_picture = {
    decode(record.image, 64)[0].tobytes(): record
    for record in map(records.__getitem__, range(len(records)))
  }
  partners = set()
  for batch in _take(train_batches.train_batches(_config(synth_data)), 60):
    for image, reference in zip(
      batch['image'], batch['reference'], strict=True
    ):
      target, other = (
        by_picture[image.tobytes()], by_picture[reference.tobytes()]
      )  # fmt: skip
      assert target.identity == other.identity
      assert target.filename != other.filename
      partners.add((target.index_in_identity, other.index_in_identity))
  # The full product: each of three pictures with both others.
  assert partners == set(itertools.permutations(range(3), 2))


def test_every_picture_comes_once_an_epoch_in_another_order(synth_data):
  records = train_batches.Records(synth_data, 'synth_id', 'train')
  steps = len(records) // 4
  batches = _take(train_batches.train_batches(_config(synth_data)), 2 * steps)
  epochs = [
    [image.tobytes() for batch in part for image in batch['image']]
    for part in (batches[:steps], batches[steps:])
  ]
  assert len(records) % 4 == 0 and len(set(epochs[0])) == len(records)
  assert set(epochs[0]) == set(epochs[1])
  assert epochs[0] != epochs[1]


@pytest.mark.parametrize('resolution', [16, 32, 48, 64, 128, 256])
def test_decoding_at_a_smaller_scale_keeps_the_picture(resolution):
  y, x = np.mgrid[0:256, 0:256]
  picture = np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)
  jpeg = io.BytesIO()
  Image.fromarray(picture).save(jpeg, 'JPEG', quality=95, subsampling=0)
  got, stored = decode(jpeg.getvalue(), resolution)
  expected = Image.fromarray(picture).resize((resolution,) * 2, Image.BOX)
  assert stored == 256
  assert np.abs(got.astype(int) - np.asarray(expected).astype(int)).max() <= 4


def test_coordinates_are_scaled_with_the_picture(synth_data):
  records = train_batches.Records(synth_data, 'synth_id', 'train')
  unknown = dataclasses.replace(records[1], corners=UNKNOWN_CORNERS)
  half = train_batches.pair(records[0], unknown, 64)
  # Columns 0 and 1 become column 0: what was at 0.5 is now at 0.
  for name, points in (
    ('eyes', records[0].eyes),
    ('reference_eyes', records[1].eyes),
    ('corners', records[0].corners),
  ):
    np.testing.assert_array_equal(half[name], (points - 0.5) / 2)
  np.testing.assert_array_equal(half['boxes'], records[0].boxes / 2)
  assert np.isnan(half['reference_corners']).all()


def test_missing_data_is_one_clear_line(synth_data, tmp_path):
  for data_dir, dataset, split, message in (
    (str(tmp_path), 'synth_id', 'train', 'no data set synth_id'),
    (synth_data, 'photo_id', 'train', 'no data set photo_id'),
    (synth_data, 'synth_id', 'nonsense', 'no split nonsense'),
  ):
    with pytest.raises(InputError, match=message) as caught:
      train_batches.Records(data_dir, dataset, split)
    assert '\n' not in str(caught.value)


def test_damaged_records_are_one_clear_line(synth_data, tmp_path):
  copy = tmp_path / 'data'
  shutil.copytree(synth_data, copy)
  (shard,) = pathlib.Path(copy).glob('synth_id/*/synth_id-test.array_record*')
  shard.write_bytes(b'not records')
  with pytest.raises(InputError):
    records = train_batches.Records(str(copy), 'synth_id', 'test')
    records[0]
  oblong = io.BytesIO()
  Image.new('RGB', (32, 16)).save(oblong, 'JPEG')
  for broken in (b'', b'\xff\xd8', b'\xff\xd8\xff\xc0', oblong.getvalue()):
    with pytest.raises(InputError):
      decode(broken, 64)


def _copy(synth_data, tmp_path):
  shutil.copytree(synth_data, tmp_path / 'data')
  (folder,) = (tmp_path / 'data' / 'synth_id').iterdir()
  return str(tmp_path / 'data'), folder


def test_no_file_of_records_is_read_at_the_start(synth_data, tmp_path):
  expected = len(train_batches.Records(synth_data, 'synth_id', 'train'))
  data_dir, folder = _copy(synth_data, tmp_path)
  (shard,) = folder.glob('*-train.array_record*')
  content = shard.read_bytes()
  shard.write_bytes(b'')
  records = train_batches.Records(data_dir, 'synth_id', 'train')
  assert len(records) == expected
  shard.write_bytes(content)
  assert records[expected - 1].index_in_identity == 2
  # Where nothing tells the lengths, the files do.
  (folder / 'dataset_info.json').unlink()
  records = train_batches.Records(data_dir, 'synth_id', 'train')
  assert len(records) == expected


@pytest.mark.parametrize(
  'lengths', [['1000'], ['-1'], ['x'], [], ['3', '3'], 3, [None]]
)
def test_wrong_lengths_are_one_clear_line_or_not_used(
  synth_data, tmp_path, lengths
):
  data_dir, folder = _copy(synth_data, tmp_path)
  path = folder / 'dataset_info.json'
  info = json.loads(path.read_text())
  info['splits'][0]['shardLengths'] = lengths
  path.write_text(json.dumps(info))
  records = train_batches.Records(data_dir, 'synth_id', 'train')
  if lengths != ['1000']:
    assert records[len(records) - 1].index_in_identity == 2
    return
  with pytest.raises(InputError, match='cannot read record 999') as caught:
    records[999]
  assert '\n' not in str(caught.value)


def test_a_damaged_picture_is_named(synth_data):
  records = train_batches.Records(synth_data, 'synth_id', 'train')
  broken = dataclasses.replace(records[1], image=records[1].image[:700])
  with pytest.raises(InputError, match=broken.filename):
    train_batches.pair(records[0], broken, 64)


def test_threads_follow_the_cores(monkeypatch):
  for cores, threads in ((1, 4), (2, 4), (12, 12), (200, 16)):
    monkeypatch.setattr(parallel, 'cpu_count', lambda cores=cores: cores)
    assert train_batches.reader_threads(0) == threads
  assert train_batches.reader_threads(3) == 3
