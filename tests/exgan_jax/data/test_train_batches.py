"""Training batches: pairs, order, scale, damaged data."""

import dataclasses
import io
import itertools
import json
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


def _take(data_dir, count, preset='reference', **fields):
  config = config_lib.make(
    preset,
    'tiny',
    **{'dataset': 'synth_id', 'data_dir': data_dir, 'reader_threads': 2},
    **{'resolution': 64, 'batch_size': 4} | fields,
  )
  return config, list(
    itertools.islice(train_batches.train_batches(config), count)
  )


def _assert_same(batches, others):
  for batch, other in zip(batches, others, strict=True):
    assert batch.keys() == other.keys()
    for name in batch:
      np.testing.assert_array_equal(batch[name], other[name])


@pytest.fixture
def records(synth_data):
  return train_batches.Records(synth_data, 'synth_id', 'train')


@pytest.fixture
def copy(synth_data, tmp_path):
  """A copy of the data set, and its folder."""
  shutil.copytree(synth_data, tmp_path / 'data')
  (folder,) = (tmp_path / 'data' / 'synth_id').iterdir()
  return str(tmp_path / 'data'), folder


@pytest.mark.parametrize('preset', ['gan', 'reference', 'code', 'compressor'])
def test_batches_have_the_promised_arrays(synth_data, preset):
  config, (batch,) = _take(synth_data, 1, preset)
  assert {k: (v.shape[1:], v.dtype) for k, v in batch.items()} == (
    train_batches.batch_shapes(config)
  )
  assert batch['image'].shape == (4, 64, 64, 3) and batch['valid'].all()
  has_reference = preset in ('reference', 'code')
  assert ('reference_corners' in batch) == has_reference


@pytest.mark.parametrize('preset', ['gan', 'compressor'])
def test_presets_without_references_get_the_same_pictures(synth_data, preset):
  _, expected = _take(synth_data, 20)
  expected = [
    {k: v for k, v in batch.items() if 'reference' not in k}
    for batch in expected
  ]
  _assert_same(_take(synth_data, 20, preset)[1], expected)


def test_the_order_is_that_of_older_checkpoints(synth_data, records):
  # Written out, because resumed runs rely on it.
  def draw(position, rng):
    target = records[position]
    others = [i for i in range(3) if i != target.index_in_identity]
    other = others[rng.integers(2)] - target.index_in_identity
    return train_batches.pair(target, records[position + other], 64)

  expected = grain.MapDataset.range(len(records)).seed(5).shuffle().repeat()
  expected = expected.random_map(draw).batch(4, drop_remainder=True)
  config, batches = _take(synth_data, 50, seed=5)
  others = itertools.islice(expected.to_iter_dataset(), 50)
  _assert_same(batches, list(others))
  iterator = train_batches.train_batches(config)
  for _ in range(50):
    next(iterator)
  assert iterator.get_state() == {'next_index': 50}


def test_a_reference_is_another_picture_of_the_same_person(synth_data, records):
  by_picture = {
    decode(record.image, 64)[0].tobytes(): record
    for record in map(records.__getitem__, range(len(records)))
  }
  partners = set()
  for batch in _take(synth_data, 60)[1]:
    for pair in zip(batch['image'], batch['reference'], strict=True):
      target, other = (by_picture[image.tobytes()] for image in pair)
      assert target.identity == other.identity
      partners.add((target.index_in_identity, other.index_in_identity))
  assert partners == set(itertools.permutations(range(3), 2))


def test_every_picture_comes_once_per_epoch_in_another_order(
  synth_data, records
):
  steps = len(records) // 4
  _, batches = _take(synth_data, 2 * steps)
  first, second = (
    [image.tobytes() for batch in part for image in batch['image']]
    for part in (batches[:steps], batches[steps:])
  )
  assert len(set(first)) == len(records)
  assert set(first) == set(second) and first != second


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


def test_coordinates_are_scaled_with_the_picture(records):
  unknown = dataclasses.replace(records[1], corners=UNKNOWN_CORNERS)
  half = train_batches.pair(records[0], unknown, 64)
  # Columns 0 and 1 become column 0, so 0.5 becomes 0.
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


def test_damaged_data_is_refused(copy, records):
  data_dir, folder = copy
  (shard,) = folder.glob('synth_id-test.array_record*')
  shard.write_bytes(b'not records')
  with pytest.raises(InputError):
    train_batches.Records(data_dir, 'synth_id', 'test')[0]
  oblong = io.BytesIO()
  Image.new('RGB', (32, 16)).save(oblong, 'JPEG')
  for image in (
    *(b'', b'\xff\xd8', b'\xff\xd8\xff\xc0'),
    *(oblong.getvalue(), records[1].image[:700]),
  ):
    broken = dataclasses.replace(records[1], image=image)
    with pytest.raises(InputError, match=broken.filename):
      train_batches.pair(records[0], broken, 64)


def test_no_record_is_read_at_the_start(copy, records):
  data_dir, folder = copy
  (shard,) = folder.glob('*-train.array_record*')
  content = shard.read_bytes()
  shard.write_bytes(b'')
  copied = train_batches.Records(data_dir, 'synth_id', 'train')
  assert len(copied) == len(records)
  shard.write_bytes(content)
  assert copied[len(records) - 1].index_in_identity == 2
  # Without metadata the lengths come from the files.
  (folder / 'dataset_info.json').unlink()
  copied = train_batches.Records(data_dir, 'synth_id', 'train')
  assert len(copied) == len(records)


@pytest.mark.parametrize(
  'lengths', [['1000'], ['-1'], ['x'], [], ['3', '3'], 3, [None]]
)
def test_wrong_lengths_are_one_clear_line_or_not_used(copy, lengths):
  data_dir, folder = copy
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


def test_threads_follow_the_cores(monkeypatch):
  for cores, threads in ((1, 4), (2, 4), (12, 12), (200, 16)):
    monkeypatch.setattr(parallel, 'cpu_count', lambda cores=cores: cores)
    assert train_batches.reader_threads(0) == threads
  assert train_batches.reader_threads(3) == 3
