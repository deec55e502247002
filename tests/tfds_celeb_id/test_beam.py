"""Apache Beam builds the same as one process."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import tfds_celeb_id
from tfds_celeb_id import celeb_id, records

pytestmark = pytest.mark.slow

if not importlib.util.find_spec('apache_beam'):
  pytest.skip('needs apache_beam', allow_module_level=True)


@pytest.fixture
def files(authors_files):
  """People of every split, closed eyes, and entries of no use."""
  for i in range(40):
    for picture in range(1, 4):
      authors_files.picture(f'p{i}-{picture}.jpg')
    if i % 7 == 0:
      authors_files.picture(f'p{i}-4.jpg', opened=0.1)
    if i % 11 == 0:
      authors_files.picture(f'p{i}-5.jpg', eye_left=None)
  authors_files.picture('alone-1.jpg')
  authors_files.picture('asleep-1.jpg', opened=0.1)
  authors_files.write()
  path = authors_files.folder / 'celeb_id_aligned'
  (path / 'p3-1.jpg').write_text('text')
  (path / 'p4-2.jpg').unlink()
  Image.fromarray(np.zeros((64, 32, 3), np.uint8)).save(path / 'p5-3.jpg')
  return authors_files.folder


def _build(files, data_dir, beam=(), **kwargs):
  from apache_beam.options.pipeline_options import PipelineOptions

  builder = celeb_id.Builder(data_dir=str(data_dir), workers=0, **kwargs)
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(
      manual_dir=str(files),
      beam_options=PipelineOptions(list(beam)) if beam else None,
    )
  )
  return builder.data_path


def _contents(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize('per_shard', [2048, 10])
def test_the_same_bytes(files, tmp_path, monkeypatch, per_shard):
  monkeypatch.setattr(records, 'RECORDS_PER_SHARD', per_shard)
  expected = _contents(_build(files, tmp_path / 'one'))
  found = _contents(_build(files, tmp_path / 'beam', ['--runner=DirectRunner']))
  assert found == expected
  shards = [n for n in expected if 'train.array_record' in n]
  assert len(shards) == (1 if per_shard == 2048 else 11)
  info = celeb_id.Builder(data_dir=str(tmp_path / 'beam')).info
  lengths = info.splits['train'].shard_lengths
  assert lengths[:-1] == [per_shard] * (len(shards) - 1)
  source = celeb_id.Builder(data_dir=str(tmp_path / 'beam'))
  names = [r['filename'] for r in source.as_data_source('train')]
  assert len(names) == sum(lengths) and len(set(names)) == len(names)


def test_the_same_bytes_with_singles(authors_files, tmp_path, monkeypatch):
  monkeypatch.setattr(celeb_id.Builder, 'KEEP_SINGLES', True)
  for i in range(12):
    for picture in range(1 + i % 3):
      authors_files.picture(f'p{i}-{picture}.jpg')
  authors_files.write()
  files = authors_files.folder
  expected = _contents(_build(files, tmp_path / 'one'))
  found = _contents(_build(files, tmp_path / 'beam', ['--runner=DirectRunner']))
  assert found == expected
  source = celeb_id.Builder(data_dir=str(tmp_path / 'beam'))
  sizes = [r['identity_size'] for r in source.as_data_source('train')]
  assert sizes[-1] == 1 and sizes == sorted(sizes, key=lambda n: n == 1)


def test_the_tfds_command(files, tmp_path):
  for module in ('tensorflow', 'mlcroissant'):
    if not importlib.util.find_spec(module):
      pytest.skip(f'the `tfds` command needs {module}')
  expected = _contents(_build(files, tmp_path / 'one'))
  package = pathlib.Path(tfds_celeb_id.__file__).parent
  result = subprocess.run(
    [
      *(sys.executable, '-m', 'tensorflow_datasets.scripts.cli.main'),
      *('build', 'celeb_id', '--file_format=array_record'),
      *('--manual_dir', str(files), '--data_dir', str(tmp_path / 'data')),
      '--beam_pipeline_options=runner=DirectRunner,direct_num_workers=2,'
      'direct_running_mode=multi_processing',
    ],
    env=os.environ | {'PYTHONPATH': str(package.parent)},
    cwd=package,
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  found = _contents(tmp_path / 'data' / 'celeb_id' / '1.1.0')
  # It names the module, which the command loaded by its path.
  assert found.pop('dataset_info.json') != expected.pop('dataset_info.json')
  assert found == expected
  rejected = map(json.loads, found['rejected.jsonl'].splitlines())
  assert [entry['reason'] for entry in rejected] == [
    *('no left eye', 'not a picture', 'No such file or directory'),
    'not square, so not aligned',
    *['no left eye'] * 3,
    'the only usable picture of this person',
    'the only usable picture of this person',
  ]
