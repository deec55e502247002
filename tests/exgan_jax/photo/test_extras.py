"""What a file holds besides the picture is kept, or its loss is said."""

import dataclasses
import io
import struct

import numpy as np
import pytest
from PIL import Image

from exgan_jax.errors import InputError
from exgan_jax.photo import jpeg, photograph, reader, thumbnail, writer

MOTION = (
  '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
  '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
  '<rdf:Description rdf:about="" xmlns:GCamera="g" xmlns:Container="c"'
  ' GCamera:MotionPhoto="1" hdrgm:Version="1.0" dc:source="kept">'
  '<Container:Directory><rdf:Seq><rdf:li Item:Length="7"/></rdf:Seq>'
  '</Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>'
)
VIDEO = b'\0\0\0\x18ftypmp42 a video'


def _picture(size=(64, 96), seed=0):
  y, x = np.indices(size)
  waves = [128 + 90 * np.sin((x + i * y) / 15 + i + seed) for i in range(3)]
  return np.stack(waves, axis=-1).round().astype(np.uint8)


def _jpeg(pixels, **options):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, 'JPEG', **options)
  return buffer.getvalue()


def _with_thumbnail(small):
  """EXIF data with a thumbnail, as cameras write it."""
  entries = [(0x0103, 3, 1, 6), (0x0201, 4, 1, 0), (0x0202, 4, 1, len(small))]
  second = 8 + 2 + 12 + 4
  start = second + 2 + 12 * len(entries) + 4
  entries[1] = (0x0201, 4, 1, start)
  tiff = b'MM\0*' + struct.pack('>I', 8)
  tiff += struct.pack('>HHHII', 1, 0x0112, 3, 1, 1 << 16)
  tiff += struct.pack('>IH', second, len(entries))
  for tag, kind, count, value in entries:
    value = value << 16 if kind == 3 else value
    tiff += struct.pack('>HHII', tag, kind, count, value)
  return jpeg.EXIF + tiff + bytes(4) + small


def _thumbnail_in(exif):
  place = exif.index(b'\xff\xd8')
  with Image.open(io.BytesIO(exif[place:])) as image:
    return np.array(image)


def _changed(path, data):
  path.write_bytes(data)
  picture = reader.read(path)
  pixels = picture.pixels.copy()
  pixels[10:20, 10:20] = 255
  return dataclasses.replace(picture, pixels=pixels)


def test_what_follows_a_jpeg_is_kept(tmp_path):
  changed = _changed(
    tmp_path / 'a.jpg', _jpeg(_picture(), xmp=MOTION.encode()) + VIDEO
  )
  writer.save(changed, tmp_path / 'b.jpg')
  saved = (tmp_path / 'b.jpg').read_bytes()
  assert saved.endswith(VIDEO)
  assert b'GCamera:MotionPhoto="1"' in saved
  assert reader.read(tmp_path / 'b.jpg').pixels[15, 15].min() > 250
  note = writer.extras_note(changed, 'JPEG')
  assert note.startswith('kept as it was') and 'video' in note


def test_claims_go_with_what_they_are_about(tmp_path):
  changed = _changed(
    tmp_path / 'a.jpg', _jpeg(_picture(), xmp=MOTION.encode()) + VIDEO
  )
  writer.save(changed, tmp_path / 'b.png')
  saved = (tmp_path / 'b.png').read_bytes()
  for gone in (b'MotionPhoto', b'hdrgm:', b'Directory', b'Item:Length'):
    assert gone not in saved
  assert b'dc:source="kept"' in saved
  assert writer.extras_note(changed, 'PNG').startswith('not kept: ')


def test_the_other_pictures_of_a_jpeg_are_still_found(tmp_path):
  second = Image.fromarray(_picture(seed=2))
  buffer = io.BytesIO()
  Image.fromarray(_picture()).save(
    buffer, 'MPO', save_all=True, append_images=[second], quality=70
  )
  changed = _changed(tmp_path / 'a.jpg', buffer.getvalue())
  writer.save(changed, tmp_path / 'b.jpg')
  with (
    Image.open(tmp_path / 'a.jpg') as before,
    Image.open(tmp_path / 'b.jpg') as after,
  ):
    assert (after.format, after.n_frames) == ('MPO', 2)
    for image in (before, after):
      image.seek(1)
    np.testing.assert_array_equal(np.array(after), np.array(before))


@pytest.mark.parametrize('junk', [b'\xff\x00', bytes(5), b'\xff\xff\xff'])
def test_junk_between_segments_loses_nothing(tmp_path, junk):
  data = _jpeg(_picture(), exif=_with_thumbnail(_jpeg(_picture((8, 8)))))
  end = 4 + struct.unpack('>H', data[4:6])[0]
  changed = _changed(tmp_path / 'a.jpg', data[:end] + junk + data[end:])
  writer.save(changed, tmp_path / 'b.jpg')
  with Image.open(tmp_path / 'b.jpg') as image:
    assert image.getexif()[0x0112] == 1


def test_the_end_of_a_picture_is_found():
  for options in ({}, {'progressive': True}, {'restart_marker_rows': 1}):
    data = _jpeg(_picture(), **options)
    assert jpeg.end_of_picture(data) == len(data)
    assert jpeg.end_of_picture(data + VIDEO) == len(data)
  assert jpeg.end_of_picture(data[:-2]) == len(data) - 2


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp'])
def test_the_thumbnail_shows_the_result(tmp_path, suffix):
  small = _jpeg(np.zeros((48, 72, 3), np.uint8) + np.uint8(40), quality=95)
  exif = _with_thumbnail(small + bytes(3000))
  data = _jpeg(_picture(), exif=exif)
  writer.save(_changed(tmp_path / 'a.jpg', data), tmp_path / f'b{suffix}')
  with Image.open(tmp_path / f'b{suffix}') as image:
    shown, found = np.array(image.convert('RGB')), image.info.get('exif')
  new = _thumbnail_in(found)
  assert new.shape == (48, 72, 3)
  expected = np.array(Image.fromarray(shown).resize((72, 48)))
  assert np.abs(new.astype(int) - expected).mean() < 12
  # All else is byte for byte the same.
  start = exif.index(b'\xff\xd8')
  assert len(found.removeprefix(jpeg.EXIF)) == len(exif) - len(jpeg.EXIF)
  assert found.removeprefix(jpeg.EXIF)[:30] == exif.removeprefix(jpeg.EXIF)[:30]
  assert start


@pytest.mark.parametrize(
  'exif', [b'', b'Exif\0\0', b'MM\0*', _with_thumbnail(b'')[:30]]
)
def test_exif_without_a_thumbnail_is_left_alone(exif):
  assert thumbnail.redraw(exif, _picture) == exif


def test_a_thumbnail_without_room_is_removed():
  exif = _with_thumbnail(_jpeg(np.zeros((48, 72, 3), np.uint8), quality=5))
  noise = np.random.default_rng(0).integers(0, 256, (48, 72, 3), np.uint8)
  found = thumbnail.redraw(exif, lambda: noise)
  with Image.open(io.BytesIO(_jpeg(_picture(), exif=found))) as image:
    assert image.getexif()[0x0112] == 1
    assert not image.getexif().get_ifd(1)


def test_ten_bits_of_heic_stay_sixteen(tmp_path):
  heif = pytest.importorskip('pillow_heif')
  pixels = np.linspace(0, 65535, 64 * 64 * 3).reshape(64, 64, 3)
  pixels = pixels.astype(np.uint16)
  image = heif.from_bytes('RGB;16', (64, 64), pixels.tobytes())
  image.save(tmp_path / 'a.heic', quality=-1)
  picture = reader.read(tmp_path / 'a.heic')
  assert picture.pixels.dtype == np.uint16
  assert np.abs(picture.pixels.astype(int) - pixels).max() < 1000
  with pytest.raises(InputError, match='16 bits'):
    writer.save(picture, tmp_path / 'b.heic')
  writer.save(picture, tmp_path / 'b.png')
  again = reader.read(tmp_path / 'b.png')
  np.testing.assert_array_equal(again.pixels, picture.pixels)


def test_avif_is_read_and_written(tmp_path):
  Image.fromarray(_picture()).save(
    tmp_path / 'a.avif', quality=95, xmp=MOTION.encode()
  )
  picture = reader.read(tmp_path / 'a.avif')
  writer.save(picture, tmp_path / 'b.avif')
  again = reader.read(tmp_path / 'b.avif')
  assert np.abs(again.pixels.astype(int) - _picture()).mean() < 3
  assert b'rainedAlgorithmicMedia' in again.metadata['xmp']


def test_a_file_that_could_not_be_read_back_is_not_written(tmp_path):
  path = tmp_path / 'a.png'
  path.write_bytes(b'before')
  picture = photograph.from_array(_picture())
  # Pillow reads no profile of more than a megabyte from a PNG file.
  large = dataclasses.replace(picture, profile=bytes(2_000_000))
  with pytest.raises(InputError, match='read back'):
    writer.save(large, path)
  assert path.read_bytes() == b'before'


@pytest.mark.parametrize('part', [b'<hdrgm:a>', b'<hdrgm:a', b' hdrgm:a="'])
def test_hostile_packets_take_linear_time(part):
  # Seconds if linear; hours if every part were searched to the end.
  writer.without_claims(part * 1_000_000)
