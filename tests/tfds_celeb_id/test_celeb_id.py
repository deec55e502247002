"""celeb_id from the authors' files."""

import http.server
import io
import logging
import math
import os
import shutil
import struct
import threading
import zipfile
import zlib

import numpy as np
import pytest
from builds import build, bytes_of, records_of, rejected_of
from PIL import Image

from exgan_jax.errors import InputError
from exgan_jax.face_records import alignment, pictures
from tfds_celeb_id import celeb_id, records
from tfds_celeb_id.celeb_id import (
  celeb_id_dataset_builder,
  entries,
  listing,
  sources,
)


def _build(folder, data_dir, workers=0):
  return build(celeb_id.Builder, data_dir, folder, workers)


def _psnr(a, b):
  error = np.mean((a.astype(np.float64) - b) ** 2)
  return 10 * math.log10(255**2 / max(error, 1e-9))


def _decode(data):
  return np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))


def _find(folder):
  source = sources.find(folder)
  parse = listing.parse_raw
  if source.kind == sources.ALIGNED:
    parse = listing.parse_aligned
  return source, parse(source.listing)


def test_raw_photos_are_aligned_as_by_the_authors_script(photographs, tmp_path):
  sample = photographs / 'celeb_id_sample' / 'data'
  raw = tmp_path / 'raw'
  raw.mkdir()
  (raw / 'celeb_id_raw').symlink_to(sample / 'celeb_id_raw')
  shutil.copy(sample / 'celeb_params.json', raw)
  made, found = _find(raw)
  published, expected = _find(sample)
  assert (made.kind, published.kind) == (sources.RAW, sources.ALIGNED)
  names = [(each.identity, each.filename) for each in found]
  assert len(names) == 314 and len({identity for identity, _ in names}) == 60
  assert names == [(each.identity, each.filename) for each in expected]
  quality, scores = [], 0
  for here, there in zip(found, expected, strict=True):
    if isinstance(there, records.Rejected):
      assert here == there and there.reason == 'no left eye'
      continue
    ours = entries.make_entry(here, made.pictures, 256)
    theirs = entries.make_entry(there, published.pictures, 256)
    np.testing.assert_array_equal(ours.eyes, theirs.eyes)
    np.testing.assert_array_equal(
      [ours.opened, ours.closed], [theirs.opened, theirs.closed]
    )
    scores += not math.isnan(ours.opened)
    # The published file itself.
    original = (sample / 'celeb_id_aligned' / there.filename).read_bytes()
    assert theirs.blobs['image'] == original
    quality.append(_psnr(_decode(ours.blobs['image']), _decode(original)))
  assert len(quality) == 308 and scores == 299
  # Both are JPEG: a difference of a level or two before it mostly vanishes.
  assert min(quality) > 60 and np.median(quality) > 70


def test_aligned_files_are_kept_as_they_are(authors_files, tmp_path):
  for name in ('a-1.jpg', 'a-2.jpg', 'a-10.jpg'):
    authors_files.picture(name)
  authors_files.picture('a-3.jpg', opened=0.5, closed=0.5)
  authors_files.picture('a-4.jpg', opened=None, closed=None)
  authors_files.write()
  builder = _build(authors_files.folder, tmp_path / 'data')
  splits = records_of(builder)
  opened = splits[records.split_of('a')]
  assert [r['filename'].decode() for r in opened] == [
    *('a-1.jpg', 'a-2.jpg', 'a-10.jpg', 'a-4.jpg')
  ]
  assert [r['filename'].decode() for r in splits['closed']] == [
    *('a-3.jpg', 'a-1.jpg')
  ]
  for record in opened:
    np.testing.assert_array_equal(record['eyes'], [[97, 106], [160, 107]])
    np.testing.assert_array_equal(record['boxes'], [[48, 61], [96, 50]])
    # Not in the listing.
    assert record['corners'].shape == (4, 2)
    assert np.isnan(record['corners']).all()
    name = record['filename'].decode()
    path = authors_files.folder / 'celeb_id_aligned' / name
    np.testing.assert_array_equal(record['image'], np.asarray(Image.open(path)))
  assert math.isnan(opened[-1]['opened'])
  assert builder.info.metadata['source'] == 'aligned'


def test_photos_are_aligned_as_computed_by_hand(authors_files, tmp_path):
  authors_files.photograph('b-1.jpg')
  authors_files.photograph('b-2.jpg', width=100)
  authors_files.write()
  builder = _build(authors_files.folder, tmp_path / 'data')
  first, second = records_of(builder)[records.split_of('b')]
  # The face's center is the mean of eyes and mouth, (100, 80); the crop 120 px
  # wide and high, from (40, 20), is enlarged 256 / 120 times.
  np.testing.assert_array_equal(first['eyes'], [[85, 106], [170, 106]])
  # Only 100 columns are there; the original scales x like y all the same.
  np.testing.assert_array_equal(second['eyes'], [[64, 106], [149, 106]])
  for record, name in ((first, 'b-1.jpg'), (second, 'b-2.jpg')):
    boxes = alignment.draw_boxes(name, 256)
    np.testing.assert_array_equal(record['boxes'], boxes)
  path = authors_files.folder / 'celeb_id_raw' / 'b-1.jpg'
  crop = Image.open(path).crop((40, 20, 160, 140))
  expected = np.asarray(crop.resize((256, 256), Image.BICUBIC))
  assert _psnr(first['image'], expected) > 38
  assert builder.info.metadata['source'] == 'raw'


def test_the_same_from_any_number_of_processes(authors_files, tmp_path):
  for name in ('a-1.jpg', 'a-2.jpg', 'b-1.jpg', 'b-2.jpg'):
    authors_files.photograph(name)
  authors_files.write()
  one = _build(authors_files.folder, tmp_path / 'one')
  # Another order on disk, too.
  moved = tmp_path / 'moved'
  (moved / 'celeb_id_raw').mkdir(parents=True)
  for name in ('b-2.jpg', 'a-2.jpg', 'a-1.jpg', 'b-1.jpg'):
    shutil.copy(authors_files.folder / 'celeb_id_raw' / name, moved / name)
    (moved / name).rename(moved / 'celeb_id_raw' / name)
  shutil.copy(authors_files.folder / 'celeb_params.json', moved)
  many = _build(moved, tmp_path / 'many', workers=2)
  assert bytes_of(one) == bytes_of(many)


@pytest.mark.parametrize(
  'place', ['aligned', 'raw', 'beside', 'data', 'itself']
)
def test_the_listing_may_be_in_several_places(authors_files, place):
  authors_files.picture('a-1.jpg')
  authors_files.write()
  folder = authors_files.folder
  path = folder / 'celeb_id_aligned' / 'data.json'
  manual = folder
  if place == 'raw':
    (folder / 'celeb_id_raw').mkdir()
    path.rename(folder / 'celeb_id_raw' / 'data.json')
  elif place == 'beside':
    path.rename(folder / 'data.json')
  elif place == 'data':
    manual = folder.parent
    folder.rename(manual / 'data')
  elif place == 'itself':
    manual = path.parent
  source, (picture,) = _find(manual)
  assert entries.make_entry(picture, source.pictures, 256).filename == 'a-1.jpg'


def test_aligned_files_are_preferred_and_logged(authors_files, caplog):
  authors_files.photograph('a-1.jpg')
  authors_files.picture('a-1.jpg')
  authors_files.write()
  with caplog.at_level(logging.WARNING):
    assert sources.find(authors_files.folder).kind == sources.ALIGNED
  (message,) = [record.getMessage() for record in caplog.records]
  assert 'using the aligned ones' in message and 'data.json' in message
  caplog.clear()
  (authors_files.folder / 'celeb_id_aligned' / 'data.json').unlink()
  with caplog.at_level(logging.WARNING):
    assert sources.find(authors_files.folder).kind == sources.RAW
  (message,) = [record.getMessage() for record in caplog.records]
  assert 'has no data.json' in message


def _zip(folder, path, more=()):
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    for file in sorted(folder.rglob('*')):
      archive.write(file, file.relative_to(folder.parent))
    for name, data in more:
      archive.writestr(name, data)


def test_an_archive_is_read_in_place(authors_files, tmp_path):
  for name in ('a-1.jpg', 'a-2.jpg', 'b-1.jpg', 'b-2.jpg'):
    authors_files.picture(name)
    authors_files.photograph(name)
  authors_files.write()
  folder = authors_files.folder
  archives = tmp_path / 'archives'
  archives.mkdir()
  _zip(folder / 'celeb_id_aligned', archives / 'celeb_id_aligned.zip')
  before = _build(folder, tmp_path / 'folder')
  after = _build(archives, tmp_path / 'archive', workers=2)
  assert bytes_of(before) == bytes_of(after)
  assert os.listdir(archives) == ['celeb_id_aligned.zip']
  # Raw ones, their listing beside the archive.
  shutil.rmtree(folder / 'celeb_id_aligned')
  (archives / 'celeb_id_aligned.zip').unlink()
  _zip(folder / 'celeb_id_raw', archives / 'celeb_id_raw.zip')
  shutil.copy(folder / 'celeb_params.json', archives)
  before = _build(folder, tmp_path / 'raw folder')
  after = _build(archives, tmp_path / 'raw archive')
  assert bytes_of(before) == bytes_of(after)


def test_a_hostile_archive_writes_nothing(authors_files, tmp_path, monkeypatch):
  for name in ('a-1.jpg', 'a-2.jpg', 'a-3.jpg', 'a-4.jpg'):
    authors_files.picture(name)
  authors_files.write()
  folder = authors_files.folder / 'celeb_id_aligned'
  (folder / 'a-3.jpg').unlink()
  (folder / 'a-4.jpg').unlink()
  archives = tmp_path / 'archives'
  archives.mkdir()
  path = archives / 'celeb_id_aligned.zip'
  monkeypatch.setattr(pictures, 'MAX_BYTES', 64 << 20)
  bomb = bytes(pictures.MAX_BYTES + 1)
  evil = ['/tmp/evil.jpg', '../evil.jpg', 'a\\..\\evil.jpg', 'C:/evil.jpg']
  _zip(
    folder,
    path,
    [('celeb_id_aligned/a-3.jpg', bomb), *((name, b'x') for name in evil)],
  )
  # 64 MiB of nothing take 64 KiB.
  assert path.stat().st_size < 200_000
  builder = _build(archives, tmp_path / 'data')
  assert rejected_of(builder) == {
    **dict.fromkeys(evil, 'a path out of the archive'),
    'a-3.jpg': f'larger than {64 << 20} bytes',
    'a-4.jpg': 'No such file or directory',
  }
  assert len(records_of(builder)[records.split_of('a')]) == 2
  assert sorted(os.listdir(tmp_path)) == ['archives', 'celeb-id', 'data']


def _png_header(width, height):
  """Returns a PNG file that claims a size and ends before its pixels."""
  fields = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
  chunk = struct.pack('>I', 13) + fields + struct.pack('>I', zlib.crc32(fields))
  return b'\x89PNG\r\n\x1a\n' + chunk + struct.pack('>I', 99) + b'IDAT'


def test_other_compression_types_are_refused(tmp_path):
  path = tmp_path / 'celeb_id_raw.zip'
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_BZIP2) as archive:
    archive.writestr('celeb_params.json', bytes(1000))
  with pytest.raises(InputError, match='neither stored nor deflated'):
    sources.find(tmp_path)


def test_pictures_that_cannot_be_used_are_rejected_by_name(
  authors_files, tmp_path
):
  for i in range(1, 13):
    authors_files.picture(f'a-{i}.jpg')
  folder = authors_files.folder / 'celeb_id_aligned'
  (folder / 'a-3.jpg').unlink()
  (folder / 'a-4.jpg').write_text('text')
  (folder / 'a-5.jpg').write_bytes((folder / 'a-5.jpg').read_bytes()[:3000])
  Image.new('RGB', (256, 200)).save(folder / 'a-6.jpg')
  (folder / 'a-7.jpg').write_bytes(_png_header(50_000, 50_000))
  # The user's own links are followed.
  (folder / 'a-8.jpg').rename(tmp_path / 'elsewhere.jpg')
  (folder / 'a-8.jpg').symlink_to(tmp_path / 'elsewhere.jpg')
  (folder / 'a-9.jpg').unlink()
  os.mkfifo(folder / 'a-9.jpg')
  Image.new('L', (256, 256), 90).save(folder / 'a-10.jpg')
  authors_files.picture('a-11.jpg', side=128)
  person = authors_files.aligned['a']
  person[10:] = person[-1:]  # Listed once, as the smaller one.
  person[10]['eye_right'] = {'x': 120, 'y': 60}
  person.append(
    person[0] | {'filename': 'a-12.jpg', 'eye_left': dict(x=260, y=9)}
  )
  authors_files.write()
  builder = _build(authors_files.folder, tmp_path / 'data')
  assert rejected_of(builder) == {
    'a-3.jpg': 'No such file or directory',
    'a-4.jpg': 'not a picture',
    'a-5.jpg': 'broken',
    'a-6.jpg': 'not square, so not aligned',
    'a-7.jpg': pictures.TOO_LARGE,
    'a-9.jpg': 'not a regular file',
    'a-12.jpg': 'an eye is outside the picture',
  }
  used = records_of(builder)[records.split_of('a')]
  assert [r['filename'].decode() for r in used] == [
    *('a-1.jpg', 'a-2.jpg', 'a-8.jpg', 'a-10.jpg', 'a-11.jpg')
  ]
  gray, small = used[3:]
  assert np.abs(gray['image'].astype(int) - 90).max() <= 1
  # At 128 px, so everything is twice as large; edges stay in place.
  np.testing.assert_array_equal(small['eyes'], [[194.5, 212.5], [240.5, 120.5]])
  np.testing.assert_array_equal(small['boxes'], [[96, 122], [192, 100]])


@pytest.mark.parametrize(
  ('name', 'content', 'message'),
  [
    ('nothing.txt', b'', 'has no files of Celeb-ID'),
    ('celeb_id_aligned.zip', b'no zip', 'is not a zip archive'),
    ('data.json', b'{"a": [', 'cannot be parsed as JSON'),
    ('data.json', b'[]', 'not a JSON object but list'),
    ('data.json', b'[' * 10_000_000, 'cannot be parsed as JSON'),
    ('data.json', b'{}', 'none of 0 pictures can be used'),
    ('celeb_id_raw/a-1.jpg', b'', 'has no celeb_params.json'),
  ],
)
def test_unusable_input_leaves_nothing_behind(tmp_path, name, content, message):
  path = tmp_path / 'in' / name
  path.parent.mkdir(parents=True)
  path.write_bytes(content)
  with pytest.raises(InputError, match=message):
    _build(tmp_path / 'in', tmp_path / 'data')
  assert not (tmp_path / 'data').exists()


def test_a_manual_directory_that_is_not_there_is_not_downloaded(tmp_path):
  with pytest.raises(InputError, match='does not exist or is empty'):
    _build(tmp_path / 'in', tmp_path / 'data')


def test_without_a_directory_the_archive_is_downloaded(
  authors_files, tmp_path, monkeypatch
):
  for name in ('a-1.jpg', 'a-2.jpg'):
    authors_files.picture(name)
  authors_files.write()
  web = tmp_path / 'web'
  web.mkdir()
  _zip(authors_files.folder / 'celeb_id_aligned', web / 'archive.zip')
  server = http.server.ThreadingHTTPServer(
    ('127.0.0.1', 0),
    lambda *args: _Quiet(*args, directory=str(web)),
  )
  threading.Thread(target=server.serve_forever, daemon=True).start()
  url = f'http://127.0.0.1:{server.server_port}/archive.zip'
  monkeypatch.setattr(celeb_id_dataset_builder, 'ARCHIVE_URL', url)
  builder = _build(None, tmp_path / 'data')
  assert len(records_of(builder)[records.split_of('a')]) == 2
  (web / 'archive.zip').write_text('<html>This domain is for sale.</html>')
  with pytest.raises(InputError, match=r'cannot download .* is not a zip'):
    _build(None, tmp_path / 'parked')
  # It is not kept in the place of the archive.
  assert not [p for p in (tmp_path / 'parked').rglob('*') if p.is_file()]
  (web / 'archive.zip').unlink()
  with pytest.raises(InputError, match='cannot download'):
    _build(None, tmp_path / 'gone')
  server.shutdown()
  server.server_close()
  with pytest.raises(InputError) as error:
    _build(None, tmp_path / 'other')
  first, second = str(error.value).splitlines()
  assert 'cannot download http://127' in first and '--manual_dir' in second
  assert not (tmp_path / 'other').exists()


class _Quiet(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *_):
    pass
