"""Scores of two folders, against metrics computed with NumPy."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from exgan_jax import cli
from exgan_jax.errors import InputError
from exgan_jax.evaluation.folders import score
from exgan_jax.face_records import pictures


def _save(path, picture):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(picture).save(path)


def _fill(folder, seed, sizes, suffix='.png'):
  rng = np.random.default_rng(seed)
  pictures = []
  for i, (height, width) in enumerate(sizes):
    picture = rng.integers(0, 256, (height, width, 3), np.uint8)
    _save(folder / f'{i}{suffix}', picture)
    pictures.append(picture.astype(float))
  return pictures


def _mask(folder, i, size):
  mask = np.zeros((*size, 3), np.uint8)
  mask[10:20, 5 : 15 + i] = 255
  _save(folder / f'{i}.png', mask)
  return mask[..., 0] > 0


SIZES = [(64, 64), (48, 80), (64, 64), (64, 64)]


def test_by_hand(tmp_path):
  ours, theirs = tmp_path / 'originals', tmp_path / 'some method'
  originals = _fill(ours, 0, SIZES, '.bmp')
  results = _fill(theirs, 1, SIZES)
  holes = [_mask(tmp_path / 'masks', i, size) for i, size in enumerate(SIZES)]
  (ours / '.hidden.png').write_bytes(b'')
  (ours / 'notes.txt').write_text('no picture')
  output = tmp_path / 'new' / 'score.json'
  found = score(
    ours, theirs, masks=tmp_path / 'masks', output=output, batch_size=3
  )
  errors = [
    np.abs(a - b) / 255 for a, b in zip(originals, results, strict=True)
  ]
  assert found.metrics['l1'] == pytest.approx(
    np.mean([error.mean() for error in errors]), rel=1e-6
  )
  inside = [e[hole].mean() for e, hole in zip(errors, holes, strict=True)]
  assert found.metrics['l1_hole'] == pytest.approx(np.mean(inside), rel=1e-6)
  assert found.num_images == 4 and found.resolution is None
  assert found.method == 'some method'
  assert found.metrics['ms_ssim_variant'] == 'shrinking'
  assert found.metrics['fid'] is None and found.skipped['fid']
  low, high = found.intervals['l1_hole']
  assert low <= found.metrics['l1_hole'] <= high
  saved = json.loads(output.read_text())
  assert saved['num_images'] == 4 and saved['metrics'] == found.metrics
  with output.with_suffix('.csv').open(newline='') as file:
    lines = list(csv.DictReader(file))
  assert [line['filename'] for line in lines] == ['0', '1', '2', '3']
  np.testing.assert_allclose(
    [float(line['l1_hole']) for line in lines], inside, rtol=1e-6
  )


def test_without_masks_there_is_no_hole(tmp_path):
  _fill(tmp_path / 'a', 0, SIZES[2:])
  found = score(tmp_path / 'a', tmp_path / 'a')
  assert found.metrics['l1'] == found.metrics['ms_ssim'] == 0
  assert found.metrics['l1_hole'] is found.metrics['sharpness'] is None
  assert '--masks' in found.skipped['l1_hole']
  assert found.resolution == 64


def test_sub_folders_are_part_of_the_name(tmp_path):
  for folder in ('a', 'b'):
    for person in ('ann', 'bob'):
      _fill(tmp_path / folder / person, 0, SIZES[:1])
  assert score(tmp_path / 'a', tmp_path / 'b').num_images == 2


def test_partners_may_be_spelled_otherwise(tmp_path):
  names = {
    'a': ('IMG_0\u00e9.jfif', 'B.png', 'both.png'),
    'b': ('IMG_0e\u0301.JPG', 'b.PNG', 'Both.png'),
  }
  for folder, its in names.items():
    for name in its:
      path = tmp_path / folder / name
      path.parent.mkdir(exist_ok=True)
      Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(
        path, pictures.KINDS[path.suffix.lower()]
      )
  assert score(tmp_path / 'a', tmp_path / 'b').num_images == 3
  # Where upper case alone tells two apart, it does.
  for folder in names:
    _save(tmp_path / folder / 'BOTH.png', np.zeros((64, 64, 3), np.uint8))
  with pytest.raises(InputError, match='no partner'):
    score(tmp_path / 'a', tmp_path / 'b')


def _delete(path):
  path.unlink()


def _replace(*size):
  return lambda path: _save(path, np.zeros((*size, 3), np.uint8))


def _truncate(path):
  path.write_bytes(path.read_bytes()[:9000])


@pytest.mark.parametrize(
  ('name', 'harm', 'message'),
  [
    ('b/1.png', _delete, r'b has no partner of .*a/1\.png'),
    ('b/9.png', _replace(64, 64), r'a has no partner of .*b/9\.png'),
    ('b/1.jpg', _replace(64, 64), r'two images named 1: 1\.jpg and 1\.png'),
    (
      'b/1.png',
      _replace(64, 65),
      r'b/1\.png has 65 x 64 pixels, but .*a/1\.png has 64 x 64',
    ),
    (
      'b/1.png',
      lambda path: path.write_bytes(b'no picture'),
      r'b/1\.png: not a picture',
    ),
    ('b/1.png', _truncate, r'b/1\.png: broken'),
    ('m/1.png', _replace(32, 64), r'm/1\.png has 64 x 32 pixels'),
    ('m/1.png', _delete, r'm has no partner of .*a/1\.png'),
  ],
)
def test_bad_folders_are_refused(tmp_path, capsys, name, harm, message):
  for folder in ('a', 'b', 'm'):
    _fill(tmp_path / folder, 0, [(64, 64)] * 3)
  harm(tmp_path / name)
  output = tmp_path / 'new' / 'score.json'
  with pytest.raises(InputError, match=message):
    score(tmp_path / 'a', tmp_path / 'b', masks=tmp_path / 'm', output=output)
  command = ['score', str(tmp_path / 'a'), str(tmp_path / 'b')]
  command += ['--masks', str(tmp_path / 'm'), '--output', str(output)]
  assert cli.main(command) == 2
  text = capsys.readouterr().err
  lines = text.splitlines()
  assert 'Traceback' not in text
  assert sum(line.startswith('exgan: ') for line in lines) == 1
  assert not output.parent.exists()


def test_no_folder_and_an_empty_one(tmp_path):
  (tmp_path / 'empty').mkdir()
  with pytest.raises(InputError, match='is not a folder'):
    score(tmp_path / 'none', tmp_path / 'empty')
  with pytest.raises(InputError, match='holds no images'):
    score(tmp_path / 'empty', tmp_path / 'empty')


def test_the_command_prints_a_table(tmp_path, capsys):
  _fill(tmp_path / 'a', 0, SIZES[:1])
  output = str(tmp_path / 'score.json')
  folders = [str(tmp_path / 'a')] * 2
  assert cli.main(['score', *folders, '--output', output]) == 0
  out = capsys.readouterr().out
  assert '1 images, 64 px' in out and 'ms_ssim' in out
