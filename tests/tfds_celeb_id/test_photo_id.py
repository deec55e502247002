"""photo_id from folders of photos."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from builds import build, records_of, rejected_of
from PIL import Image

from exgan_jax.errors import InputError
from exgan_jax.face_records.alignment import Face
from tfds_celeb_id import photo_id, records


class FakeDetector:
  """Takes the number of faces from red and their openness from green."""

  def __init__(self, bundle):
    assert bundle is None

  def detect(self, image):
    height, width = image.shape[:2]
    red, green, blue = image.reshape(-1, 3).mean(axis=0)
    if blue > 200:
      raise RuntimeError('cannot stand blue')
    x, y, side = width / 2, height / 2, 0.6 * width
    face = Face(
      eyes=((x - 0.2 * side, y), (x + 0.2 * side, y)),
      mouth=(x, y + 0.3 * side),
      x=x,
      y=y,
      width=side,
      height=side,
      roll=0.0,
      opened=green / 255,
      closed=1 - green / 255,
      corners=tuple((x + side * at, y) for at in (-0.3, -0.1, 0.1, 0.3)),
    )
    return [face] * round(red / 100)

  def close(self):
    pass


def _save(path, faces=1, opened=0.9, blue=0, size=(100, 100), **kwargs):
  path.parent.mkdir(parents=True, exist_ok=True)
  color = (100 * faces, round(255 * opened), blue)
  Image.new('RGB', size, color).save(path, **kwargs)


def _build(folder, data_dir, detector=FakeDetector):
  return build(photo_id.Builder, data_dir, folder, detector=detector)


def test_records(tmp_path):
  folder = tmp_path / 'photographs'
  for name in ('Ada Lovelace', 'Zoë', 'B'):
    for i in (2, 1, 10):
      _save(folder / name / f'picture {i}.png', opened=0.7 + i / 100)
    _save(folder / name / 'x.png', opened=0.3)
  builder = _build(folder, tmp_path / 'data')
  assert builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD
  splits = records_of(builder)
  closed = splits.pop('closed')
  by_person = {}
  for split, items in splits.items():
    for record in items:
      assert records.split_of(record['identity'].decode()) == split
      by_person.setdefault(record['identity'].decode(), []).append(record)
  assert sorted(by_person) == ['Ada Lovelace', 'B', 'Zoë']
  for name, items in by_person.items():
    assert [r['filename'].decode() for r in items] == [
      f'{name}/picture {i}.png' for i in (1, 10, 2)
    ]
    assert [r['index_in_identity'] for r in items] == [0, 1, 2]
    assert [r['identity_size'] for r in items] == [3, 3, 3]
  record = by_person['B'][0]
  assert record['image'].shape == (256, 256, 3)
  assert record['image'].dtype == np.uint8
  np.testing.assert_allclose(
    record['image'].mean((0, 1)), [100, 181, 0], atol=2
  )
  # The box is 72 of 100 pixels wide about the mean of eyes and mouth (50, 56).
  np.testing.assert_array_equal(record['eyes'], [[85, 106], [170, 106]])
  assert record['eyes'].dtype == record['boxes'].dtype == np.float32
  # They are not cut to whole pixels, and count from the first one's center.
  across = (np.array([32, 44, 56, 68]) - 14 + 0.5) * 256 / 72 - 0.5
  down = (50 - 20 + 0.5) * 256 / 72 - 0.5
  np.testing.assert_allclose(
    record['corners'], [[x, down] for x in across], rtol=1e-6
  )
  assert ((record['boxes'] >= 48) & (record['boxes'] <= 96)).all()
  assert record['opened'] == pytest.approx(0.71, abs=0.01)
  assert record['closed'] == pytest.approx(0.29, abs=0.01)
  assert [r['filename'].decode() for r in closed] == [
    f'{name}/{file}.png'
    for name in ('Ada Lovelace', 'B', 'Zoë')
    for file in ('x', 'picture 10')
  ]
  assert [r['index_in_identity'] for r in closed] == [0, 1] * 3
  assert {r['identity_size'] for r in closed} == {2}
  assert not rejected_of(builder)
  assert builder.info.metadata['counts']['closed']['records'] == 6


def test_unusable_files_are_rejected(tmp_path):
  folder = tmp_path / 'photographs'
  person = folder / 'é person'
  _save(person / 'a.png')
  _save(person / 'cmyk.png')
  with Image.open(person / 'cmyk.png') as image:
    image.convert('CMYK').save(person / 'cmyk.jpg')
  (person / 'cmyk.png').unlink()
  (person / 'text.jpg').write_text('no picture')
  (person / 'Thumbs.db').write_bytes(bytes(range(256)) * 20)
  (person / '.DS_Store').write_bytes(b'\0\0\0\1Bud1')
  _save(person / 'one pixel.png', size=(1, 1))
  _save(person / 'crowd.png', faces=2)
  _save(person / 'empty street.png', faces=0)
  _save(person / 'far away.png', size=(60, 60))
  _save(person / 'blue.png', blue=255)
  noise = np.random.default_rng(0).integers(0, 200, (90, 90, 3), np.uint8)
  Image.fromarray(noise).save(person / 'truncated.jpg')
  data = (person / 'truncated.jpg').read_bytes()
  (person / 'truncated.jpg').write_bytes(data[:3000])
  _save(person / 'nested' / 'a.png')
  os.mkfifo(person / 'pipe.jpg')
  # The user's own links are followed.
  _save(tmp_path / 'elsewhere' / 'x.png')
  (person / 'link.png').symlink_to(tmp_path / 'elsewhere' / 'x.png')
  (person / 'dangling.png').symlink_to(person / 'nothing.png')
  (person / 'loop.png').symlink_to(person / 'loop.png')
  (folder / 'linked').symlink_to(tmp_path / 'elsewhere')
  _save(folder / 'loose.png')
  _save(folder / 'alone' / 'a.png')
  _save(folder / 'solo' / 'a.png')
  _save(folder / 'sleeper' / 'a.png', opened=0.1)
  _save(folder / 'sleeper' / 'b.png', opened=0.1)
  with open(os.fsencode(person) + b'/caf\xe9.jpg', 'wb') as file:
    file.write(b'text')
  builder = _build(folder, tmp_path / 'data')
  used = {
    record['filename'].decode()
    for items in records_of(builder).values()
    for record in items
  }
  # Training has a use for a single picture.
  splits = [records.split_of(name) for name in ('solo', 'alone')]
  assert splits == ['train', 'test']
  assert used == {
    *('é person/a.png', 'é person/cmyk.jpg', 'é person/link.png'),
    *('linked/x.png', 'solo/a.png'),
  }
  closed = 'eyes closed, and no open-eyed picture of this person'
  assert rejected_of(builder) == {
    'alone/a.png': 'the only usable picture of this person',
    'loose.png': "not in a person's folder",
    'sleeper/a.png': closed,
    'sleeper/b.png': closed,
    'é person/.DS_Store': 'hidden',
    'é person/Thumbs.db': 'not a picture',
    'é person/blue.png': 'RuntimeError: cannot stand blue',
    'é person/caf?.jpg': 'not a picture',
    'é person/crowd.png': 'more than one face',
    'é person/dangling.png': 'No such file or directory',
    'é person/empty street.png': 'no face',
    'é person/far away.png': 'face too small',
    'é person/loop.png': 'Too many levels of symbolic links',
    'é person/nested': "a folder inside a person's folder",
    'é person/one pixel.png': 'too small (at least 32 px a side)',
    'é person/pipe.jpg': 'not a regular file',
    'é person/text.jpg': 'not a picture',
    'é person/truncated.jpg': 'broken',
  }


class SmallFaceBehind(FakeDetector):
  """Adds a second face; blue is its width in percent."""

  def detect(self, image):
    (face,) = super().detect(image)
    part = image[..., 2].mean() / 100
    return [face, Face(face.eyes, None, 0, 0, part * face.width, 1, 0, 0.1)]


def test_faces_in_the_background_do_not_count(tmp_path):
  for part in (50, 55, 65):
    _save(tmp_path / 'in' / 'a' / f'{part}.png', size=(400, 400), blue=part)
  builder = _build(tmp_path / 'in', tmp_path / 'data', SmallFaceBehind)
  assert rejected_of(builder) == {'a/65.png': 'more than one face'}


def _empty(folder):
  folder.mkdir()


def _texts(folder):
  (folder / 'a').mkdir(parents=True)
  for i in range(3):
    (folder / 'a' / f'{i}.jpg').write_text('text')


def _strangers(folder):
  # Held out: training would use them.
  held_out = [p for p in map(str, range(99)) if records.split_of(p) != 'train']
  for person in held_out[:2]:
    _save(folder / person / '1.png')


@pytest.mark.parametrize(
  ('fill', 'message'),
  [
    (lambda folder: None, 'does not exist or is empty'),
    (_empty, 'does not exist or is empty'),
    (_texts, 'none of 3 pictures can be used: 3 not a picture'),
    (_strangers, 'none of 2 pictures can be used: 2 the only usable picture'),
  ],
)
def test_unusable_input_leaves_nothing_behind(tmp_path, fill, message):
  fill(tmp_path / 'in')
  with pytest.raises(InputError, match=message) as error:
    _build(tmp_path / 'in', tmp_path / 'data')
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'data').exists()


def test_a_place_that_cannot_be_written_is_bad_input(tmp_path):
  _save(tmp_path / 'in' / 'a' / '1.png')
  (tmp_path / 'data').write_text('a file where the folder should be')
  with pytest.raises(InputError, match='cannot write'):
    _build(tmp_path / 'in', tmp_path / 'data')


_PROGRAM = """
import sys
import types
import tfds_celeb_id
heavy = {'tensorflow', 'mediapipe', 'jax', 'torch'}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import tensorflow_datasets as tfds
builder = tfds.builder('photo_id', data_dir=sys.argv[2])
builder.download_and_prepare(
  download_config=tfds.download.DownloadConfig(manual_dir=sys.argv[1]))
assert 'tensorflow' not in sys.modules
"""


def test_real_photos_without_tensorflow(photographs, bundle, tmp_path):
  folder = tmp_path / 'photographs'
  folder.mkdir()
  people = sorted(
    person
    for person in (photographs / 'closed_eyes').iterdir()
    if len(list(person.glob('open_*'))) >= 2
  )[:4]
  for person in people:
    (folder / person.name).mkdir()
    for file in person.iterdir():
      (folder / person.name / file.name).write_bytes(file.read_bytes())
  result = subprocess.run(
    [sys.executable, '-c', _PROGRAM, folder, tmp_path / 'data'],
    env=os.environ | {'EXGAN_FACE_LANDMARKER': str(bundle)},
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  for noise in ('INFO: Created TensorFlow Lite', 'W0000', 'Traceback'):
    assert noise not in result.stderr
  splits = records_of(photo_id.Builder(data_dir=str(tmp_path / 'data')))
  closed = splits.pop('closed')
  opened = [record for items in splits.values() for record in items]
  assert {r['identity'].decode() for r in opened} == {p.name for p in people}
  assert all(b'/open_' in r['filename'] for r in opened)
  assert all(b'/closed_' in r['filename'] for r in closed[::2])
  assert all(b'/open_' in r['filename'] for r in closed[1::2])
  for record in opened:
    (left_x, left_y), (right_x, right_y) = record['eyes']
    assert 50 < left_x < right_x < 206 and 50 < left_y < 150
    assert abs(left_y - right_y) <= 1
