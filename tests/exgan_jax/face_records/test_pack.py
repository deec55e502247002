"""Packed records, and training from them."""

import itertools
import json
import operator
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from exgan_jax import cli
from exgan_jax import config as config_lib
from exgan_jax.data import eval_batches, train_batches
from exgan_jax.errors import InputError
from exgan_jax.evaluation.evaluator import Evaluator
from exgan_jax.evaluation.options import Options
from exgan_jax.face_records import codec, pack
from exgan_jax.face_records.example import parse
from tfds_celeb_id import records

SPLITS = ('train', 'validation', 'test', 'closed')


@pytest.fixture(scope='module', params=[False, True], ids=['jpeg', 'pixels'])
def packed(request, synth_data, tmp_path_factory):
  """Returns whether pixels are uncompressed, and the folder."""
  output = tmp_path_factory.mktemp('packed')
  pack.pack(synth_data, 'synth_id', 64, output, pixels=request.param, workers=0)
  return request.param, str(output)


def _all(data_dir, split):
  found = train_batches.Records(data_dir, 'synth_id', split)
  return [found[position] for position in range(len(found))]


_names = operator.attrgetter(
  *('identity', 'filename', 'opened', 'index_in_identity', 'identity_size')
)


def _batches(data_dir, resolution=64):
  data = {'dataset': 'synth_id', 'data_dir': data_dir, 'reader_threads': 2}
  config = config_lib.make(
    'reference', 'tiny', resolution=resolution, batch_size=4, **data
  )
  return list(itertools.islice(train_batches.train_batches(config), 6))


def _assert_same(found, expected):
  assert found.keys() == expected.keys()
  for name in expected:
    np.testing.assert_array_equal(found[name], expected[name])


def test_training_gets_the_same_batches(synth_data, packed):
  pixels, data_dir = packed
  for mine, other in zip(_batches(data_dir), _batches(synth_data), strict=True):
    if not pixels:
      shown = [each.pop('image').astype(int) for each in (mine, other)]
      told = [each.pop('reference').astype(int) for each in (mine, other)]
      assert np.abs(shown[0] - shown[1]).mean() < 2.0
      assert np.abs(told[0] - told[1]).mean() < 2.0
    _assert_same(mine, other)


@pytest.mark.parametrize('packed', [True], indirect=True, ids=['pixels'])
@pytest.mark.parametrize('split', ['test', 'closed'])
def test_evaluation_gets_the_same_batches(synth_data, packed, split):
  _, data_dir = packed
  both = (
    eval_batches.evaluation_batches(
      train_batches.Records(folder, 'synth_id', split), split, 64, 4
    )
    for folder in (data_dir, synth_data)
  )
  for mine, other in zip(*both, strict=True):
    for name in ('inputs', 'stranger'):
      _assert_same(getattr(mine, name), getattr(other, name))
    for name in ('truth', 'irises', 'has_truth'):
      np.testing.assert_array_equal(getattr(mine, name), getattr(other, name))


def test_only_pictures_and_coordinates_change(synth_data, packed):
  pixels, data_dir = packed
  for split in SPLITS:
    mine, others = _all(data_dir, split), _all(synth_data, split)
    for record, other in zip(mine, others, strict=True):
      assert codec.is_pixels(record.image) == pixels
      assert codec.side_of(record.image) == 64
      assert bool(record.truth) == bool(other.truth)
      np.testing.assert_array_equal(record.eyes, (other.eyes - 0.5) / 2)
      np.testing.assert_array_equal(record.boxes, other.boxes / 2)
      np.testing.assert_array_equal(record.corners, (other.corners - 0.5) / 2)
      assert _names(record) == _names(other)
  folders = [pathlib.Path(f, 'synth_id') for f in (data_dir, synth_data)]
  names = [{path.name for path in f.rglob('*')} for f in folders]
  assert names[0] == names[1]


def test_records_without_corners_are_packed(synth_data):
  serialized = train_batches.Records(synth_data, 'synth_id', 'test')._read(0)
  example = tf_example_pb2.Example.FromString(serialized)
  del example.features.feature['corners']
  packed = pack.pack_record(example.SerializeToString(), 64, False)
  assert np.isnan(parse(packed).corners).all()
  assert b'corners' not in packed


def test_tfds_reads_packed_records(packed):
  (folder,) = pathlib.Path(packed[1], 'synth_id').iterdir()
  builder = tfds.builder_from_directory(str(folder))
  assert builder.info.features['image'].shape == (64, 64, 3)
  assert builder.info.splits['train'].num_examples == len(
    train_batches.Records(packed[1], 'synth_id', 'train')
  )
  read = builder.as_data_source('test')
  for example, record in zip(read, _all(packed[1], 'test'), strict=True):
    image, _ = codec.decode(record.image, 64)
    # Decoders of JPEG round in their own ways.
    assert np.abs(example['image'].astype(int) - image).max() <= (
      0 if packed[0] else 8
    )
    assert example['filename'].decode() == record.filename
    np.testing.assert_array_equal(example['eyes'], record.eyes)
    assert example['iris_rgb'].shape == (3,)


@pytest.mark.parametrize('packed', [False], indirect=True, ids=['jpeg'])
def test_the_bytes_do_not_depend_on_the_processes(synth_data, tmp_path, packed):
  pack.pack(synth_data, 'synth_id', 64, tmp_path, workers=2)
  (mine,) = (tmp_path / 'synth_id').iterdir()
  for path in mine.iterdir():
    (other,) = pathlib.Path(packed[1]).rglob(path.name)
    assert path.read_bytes() == other.read_bytes()


def test_pictures_of_that_size_are_not_encoded_again(synth_data, tmp_path):
  pack.pack(synth_data, 'synth_id', 128, tmp_path, workers=0)
  for mine, other in zip(
    _all(tmp_path, 'closed'), _all(synth_data, 'closed'), strict=True
  ):
    assert (mine.image, mine.truth) == (other.image, other.truth)
    # Half a pixel is added and taken away again, which rounds.
    np.testing.assert_allclose(mine.eyes, other.eyes, atol=1e-5)


def test_scaling_by_one_changes_nothing():
  points = np.random.default_rng(0).normal(40, 60, (100_000, 2))
  for scale in (0.25, 0.375, 0.5, 1.0):
    once = codec.scale_points(points.astype(np.float32), np.float32(scale))
    np.testing.assert_array_equal(
      codec.scale_points(once, np.float32(1.0)), once
    )


def test_enlarging_packed_records_is_refused(packed, tmp_path):
  with pytest.raises(InputError, match='was packed at 64 px'):
    _batches(packed[1], 128)
  config = config_lib.make(resolution=128, dataset='synth_id')
  config_lib.save(config, tmp_path / config_lib.FILENAME)
  with pytest.raises(InputError, match='was packed at 64 px'):
    Evaluator(tmp_path, packed[1], Options())
  # Less is not.
  assert _batches(packed[1], 32)[0]['image'].shape == (4, 32, 32, 3)


def test_enlarging_is_logged_once(synth_data, caplog):
  _batches(synth_data, 256)
  (line,) = caplog.messages
  assert 'have 128 px and are enlarged to 256' in line


@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError, MemoryError])
def test_an_interrupted_call_leaves_no_files(
  synth_data, tmp_path, monkeypatch, error
):
  write, calls = pack._write_file, itertools.count()

  def failing(*arguments):
    if next(calls) == 2:
      raise error
    write(*arguments)

  monkeypatch.setattr(pack, '_write_file', failing)
  with pytest.raises(InputError if error is OSError else error):
    pack.pack(synth_data, 'synth_id', 64, tmp_path, workers=0)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'resolution': 60}, 'must be a multiple of 16'),
    ({'resolution': 256}, 'its 128 px would have to be enlarged'),
    ({'data_dir': '.'}, 'no data set synth_id'),
    ({'dataset': 'photo_id'}, 'no data set photo_id'),
    ({'dataset': '/somewhere/synth_id'}, 'is not the name of a data set'),
    ({'dataset': '../synth_id'}, 'is not the name of a data set'),
    ({'output': 'existing'}, 'exists: remove it'),
    ({'output': 'file'}, 'cannot write'),
  ],
)
def test_bad_input_writes_nothing(
  synth_data, tmp_path, monkeypatch, changes, message
):
  monkeypatch.chdir(tmp_path)
  pathlib.Path('existing', 'synth_id').mkdir(parents=True)
  pathlib.Path('file').touch()
  usual = {'data_dir': synth_data, 'dataset': 'synth_id', 'resolution': 64}
  with pytest.raises(InputError, match=message):
    pack.pack(**{**usual, 'output': 'new', **changes}, workers=0)
  assert not list(pathlib.Path().glob('new/*'))
  assert not list(pathlib.Path('existing', 'synth_id').iterdir())


def test_the_command_prints_the_folder(synth_data, tmp_path, capsys):
  arguments = f'--resolution 32 --pixels --output {tmp_path}'.split()
  code = cli.main(
    ['pack', '--data-dir', synth_data, '--dataset', 'synth_id', *arguments]
  )
  (folder,) = (tmp_path / 'synth_id').iterdir()
  assert code == 0 and str(folder) in capsys.readouterr().out
  metadata = json.loads((folder / 'metadata.json').read_text())
  assert metadata['packed']['resolution'] == 32
  assert metadata['people'] == 60


@pytest.mark.parametrize('name', ['dataset_info', 'features', 'metadata'])
def test_a_damaged_description_is_refused(synth_data, tmp_path, name):
  shutil.copytree(synth_data, tmp_path / 'data')
  (path,) = (tmp_path / 'data').rglob(f'{name}.json')
  for text in (
    '',
    '[]',
    '{"splits": [3]}',
    '{"splits": [], "featuresDict": 1}',
  ):
    path.write_text(text)
    if name == 'metadata' and text.startswith('{'):
      continue
    with pytest.raises(InputError) as caught:
      pack.pack(tmp_path / 'data', 'synth_id', 64, tmp_path, workers=0)
    assert '\n' not in str(caught.value)


def test_a_damaged_file_is_refused(synth_data, tmp_path):
  shutil.copytree(synth_data, tmp_path / 'data')
  (path,) = (tmp_path / 'data').rglob('*-test.array_record*')
  for content in (b'', b'not records', path.read_bytes()[:70_000]):
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
      pack.pack(tmp_path / 'data', 'synth_id', 64, tmp_path, workers=0)
    assert '\n' not in str(caught.value)
    assert not (tmp_path / 'synth_id').exists()


def test_damaged_pixels_are_refused(synth_data, packed):
  image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
  good = codec.encode_pixels(image)
  np.testing.assert_array_equal(codec.decode(good, 16)[0], image)
  broken = [good[:n] for n in (0, 1, 2, 53, 54, len(good) - 1)]
  broken += [good + b'\0', b'PM' + good[2:]]
  for at in range(2, 54):
    other = bytes([good[at] ^ 0x7F])
    broken.append(good[:at] + other + good[at + 1 :])
  for picture in broken:
    with pytest.raises(InputError) as caught:
      codec.decode(picture, 16)
    assert '\n' not in str(caught.value)
  record = _all(synth_data, 'test')[0]
  damaged = records.dataclasses.replace(record, image=broken[0])
  with pytest.raises(InputError, match=record.filename):
    train_batches.pair(record, damaged, 16)
