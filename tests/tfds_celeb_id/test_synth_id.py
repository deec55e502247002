"""synth_id: deterministic, and rebuilt if its parameters change."""

import importlib.util
import io
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
from builds import build, bytes_of, records_of
from PIL import Image, JpegImagePlugin
from tensorflow_datasets.core import writer

import tfds_celeb_id
from exgan_jax.errors import InputError
from tfds_celeb_id import records, synth_id
from tfds_celeb_id.synth_id import renderer

# Of the first three people one is held out.
SMALL = {'people': 3, 'pictures': 2, 'seed': 7}


def _build(data_dir, **kwargs):
  return build(synth_id.Builder, data_dir, **SMALL | kwargs)


@pytest.fixture(scope='module')
def built(tmp_path_factory):
  """A small data set; do not change it."""
  return _build(tmp_path_factory.mktemp('data'))


def test_has_the_requested_pictures(built):
  splits = records_of(built)
  closed = splits.pop('closed')
  names = [
    record['filename'].decode() for items in splits.values() for record in items
  ]
  assert sorted(names) == [
    f'synth_00000{person}-{picture}.jpg'
    for person in range(3)
    for picture in (1, 2)
  ]
  for items in splits.values():
    for record in items:
      assert record['image'].shape == (128, 128, 3)
      assert record['opened'] == 1 and record['truth'] == b''
      assert record['identity_size'] == 2
  assert [r['filename'] for r in closed] == [
    b'synth_000000-3.jpg',
    b'synth_000000-1.jpg',
  ]
  assert records.split_of('synth_000000') != 'train'


def test_pictures_are_those_of_the_renderer(built):
  for items in records_of(built).values():
    for record in items:
      number = int(record['identity'][-6:])
      picture = int(record['filename'].decode().partition('-')[2][:-4]) - 1
      person = renderer.sample_person(SMALL['seed'], number)
      scene = renderer.sample_scene(SMALL['seed'], number, picture)
      is_closed = record['opened'] == 0
      expected = renderer.render(person, scene, 128, eyes_closed=is_closed)
      np.testing.assert_array_equal(record['iris_rgb'], person.iris_rgb)
      np.testing.assert_allclose(record['eyes'], expected.eyes - 0.5, rtol=1e-6)
      # Half a pixel off the centers, not off the radii.
      np.testing.assert_allclose(
        record['irises'], expected.irises - [0.5, 0.5, 0], rtol=1e-6
      )
      np.testing.assert_allclose(
        record['corners'], expected.corners - 0.5, rtol=1e-6
      )
      difference = record['image'].astype(int) - expected.image
      assert np.abs(difference).mean() < 3
      for x, y in record['eyes'].round().astype(int):
        box = np.s_[y - 4 : y + 5, x - 4 : x + 5]
        assert np.abs(difference[box].mean((0, 1))).max() < 3


def test_truth_is_the_same_scene_with_open_eyes(built):
  closed = next(iter(records_of(built)['closed']))
  image = Image.open(io.BytesIO(closed['truth']))
  assert JpegImagePlugin.get_sampling(image) == 0  # Full color.
  truth = np.array(image).astype(int)
  difference = np.abs(truth - closed['image']).mean(axis=-1)
  near = np.zeros((128, 128), bool)
  for x, y in closed['eyes'].round().astype(int):
    near[y - 14 : y + 15, x - 14 : x + 15] = True
  assert difference[near].mean() > 5
  assert difference[~near].mean() < 0.5


def test_is_the_same_from_any_number_of_processes(built, tmp_path):
  assert bytes_of(_build(tmp_path, workers=2)) == bytes_of(built)


def test_records_of_other_numbers_are_not_reused(built):
  root = built.data_dir_root
  _build(root)  # The same ones are.
  assert dict(synth_id.Builder(data_dir=str(root)).info.metadata)['people'] == 3
  for name, value in (('people', 4), ('pictures', 3), ('seed', 8)):
    with pytest.raises(InputError, match=f'{name}={SMALL[name]}, not {value}'):
      _build(root, **{name: value})


def test_numbers_come_from_the_environment_too(built, monkeypatch):
  for name, value in SMALL.items():
    monkeypatch.setenv(f'EXGAN_SYNTH_{name.upper()}', str(value))
  root = built.data_dir_root
  nothing = dict.fromkeys(SMALL)
  _build(root, **nothing)
  monkeypatch.setenv('EXGAN_SYNTH_PEOPLE', '4')
  with pytest.raises(InputError, match='people=3, not 4'):
    _build(root, **nothing)


@pytest.mark.parametrize(
  'wrong', [{'people': 0}, {'pictures': 1}, {'seed': -1}, {'people': 'many'}]
)
def test_wrong_numbers_are_refused(tmp_path, wrong):
  with pytest.raises(InputError, match='must be a whole number'):
    _build(tmp_path / 'data', **wrong)
  assert not (tmp_path / 'data').exists()


def _run(*arguments):
  return subprocess.run(
    [sys.executable, '-m', 'tfds_celeb_id.synth_id', *map(str, arguments)],
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )


def test_command(built, tmp_path):
  result = _run(
    '--data-dir', tmp_path, '--people', 3, '--pictures', 2, '--seed', 7
  )
  assert result.returncode == 0, result.stderr
  assert bytes_of(synth_id.Builder(data_dir=str(tmp_path))) == bytes_of(built)
  result = _run('--data-dir', built.data_dir_root, '--people', 5)
  assert result.returncode == 2
  (line,) = result.stderr.splitlines()
  assert line.startswith('synth_id: ') and 'people=3, not 5' in line


def test_a_full_disk_is_bad_input_and_leaves_nothing(tmp_path, monkeypatch):
  def write(self, path, examples):
    # As ArrayRecord says it.
    raise RuntimeError(
      f'write() failed: No space left on device; writing {path}; at byte 147'
    )

  monkeypatch.setattr(writer.ExampleWriter, 'write', write)
  with pytest.raises(InputError, match=r'cannot write .* No space left'):
    _build(tmp_path / 'data')
  assert not (tmp_path / 'data').exists()


def _tfds(*arguments, cwd):
  for module in (
    'tensorflow',
    'mlcroissant',
    'importlib_resources',
    'apache_beam',
  ):
    if not importlib.util.find_spec(module):
      pytest.skip(f'the `tfds` command needs {module}')
  return subprocess.run(
    [
      *(sys.executable, '-m', 'tensorflow_datasets.scripts.cli.main'),
      *('build', *map(str, arguments), '--file_format=array_record'),
    ],
    env=os.environ
    | {
      'EXGAN_SYNTH_PEOPLE': '3',
      'EXGAN_SYNTH_PICTURES': '2',
      'EXGAN_SYNTH_SEED': '7',
      'PYTHONPATH': str(pathlib.Path(tfds_celeb_id.__file__).parents[1]),
    },
    cwd=cwd,
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )


@pytest.mark.slow
@pytest.mark.parametrize('place', ['anywhere', 'tfds_celeb_id', 'synth_id'])
def test_tfds_command(built, tmp_path, place):
  package = pathlib.Path(tfds_celeb_id.__file__).parent
  arguments, cwd = {
    'anywhere': (['synth_id', '--imports=tfds_celeb_id'], tmp_path),
    'tfds_celeb_id': (['synth_id'], package),
    'synth_id': ([], package / 'synth_id'),
  }[place]
  result = _tfds(*arguments, '--data_dir', tmp_path / 'data', cwd=cwd)
  assert result.returncode == 0, result.stderr
  assert bytes_of(
    synth_id.Builder(data_dir=str(tmp_path / 'data'))
  ) == bytes_of(built)


@pytest.mark.slow
def test_tfds_command_with_bad_input(tmp_path):
  result = _tfds(
    *('photo_id', '--imports=tfds_celeb_id', '--manual_dir', tmp_path / 'no'),
    *('--data_dir', tmp_path / 'data'),
    cwd=tmp_path,
  )
  assert result.returncode == 2
  assert result.stderr.splitlines()[-1].startswith('photo_id: ')
  assert 'Traceback' not in result.stderr
  assert not (tmp_path / 'data').exists()


@pytest.mark.slow
def test_what_a_killed_build_left_is_removed(tmp_path):
  code = """
import sys
from tfds_celeb_id import synth_id
builder = synth_id.Builder(data_dir=sys.argv[1], people=500, workers=2)
builder.download_and_prepare()
"""
  with (tmp_path / 'log').open('w') as log:
    process = subprocess.Popen(
      [sys.executable, '-c', code, str(tmp_path / 'data')], stderr=log
    )
  folder = tmp_path / 'data' / 'synth_id'
  while not list(folder.glob('incomplete.*/.exgan-lock')):
    assert process.poll() is None, (tmp_path / 'log').read_text()
    time.sleep(0.05)
  (folder / 'incomplete.of the user').mkdir()
  builder = synth_id.Builder(data_dir=str(tmp_path / 'data'), people=60)
  try:
    with pytest.MonkeyPatch.context() as patch:  # Another build goes on.
      patch.setattr(synth_id.Builder, '_work', lambda *_: 1 / 0)
      with pytest.raises(ZeroDivisionError):
        builder.download_and_prepare()
    assert len(list(folder.glob('incomplete.*'))) == 2
  finally:
    process.kill()
    process.wait()
  builder.download_and_prepare()
  assert {path.name for path in folder.iterdir()} == {
    'incomplete.of the user', str(builder.version),
  }  # fmt: skip
  assert not list(builder.data_path.glob('.exgan*'))
