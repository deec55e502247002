"""Picture files of many kinds."""

import io
import os
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from exgan_jax.face_records import pictures


def _ramp(height=60, width=90):
  x = np.linspace(0, 255, width)
  y = np.linspace(0, 255, height)[:, None]
  return np.stack(np.broadcast_arrays(x, y, 128), axis=-1).astype(np.uint8)


def _read(path):
  image = pictures.read_picture(path)
  assert image.dtype == np.uint8 and image.ndim == 3
  return image.astype(int)


def test_reads_color(tmp_path):
  Image.fromarray(_ramp()).save(tmp_path / 'a b é.png')
  np.testing.assert_array_equal(_read(tmp_path / 'a b é.png'), _ramp())


@pytest.mark.parametrize('suffix', pictures.KINDS)
def test_every_kind_is_found_and_read(tmp_path, suffix):
  format_ = pictures.KINDS[suffix]
  if format_ == 'HEIF':
    pytest.importorskip('pillow_heif', reason='the extra heic is missing')
  path = tmp_path / 'folder' / f'é{suffix.upper()}'
  path.parent.mkdir()
  pictures.formats()
  Image.fromarray(_ramp()).save(path, format_)
  (path.parent / f'.hidden{suffix}').touch()
  (path.parent / 'notes.txt').touch()
  assert pictures.pictures_in(tmp_path) == [path]
  assert np.abs(_read(path) - _ramp()).mean() < 8
  assert pictures.picture_size(path) == _ramp().shape[:2]


def test_heic_without_its_plug_in_names_the_extra(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'pillow_heif', None)
  pictures.formats.cache_clear()
  try:
    path = tmp_path / 'a.heic'
    path.write_bytes(b'\0\0\0\x18ftypheic' + bytes(100))
    with pytest.raises(pictures.UnusablePictureError, match=r'\[heic\]'):
      pictures.read_picture(path)
  finally:
    pictures.formats.cache_clear()


@pytest.mark.timeout(20)
def test_only_regular_files_are_opened(tmp_path):
  pipe = tmp_path / 'pipe.jpg'
  os.mkfifo(pipe)
  (tmp_path / 'link.jpg').symlink_to(tmp_path / 'none')
  for name, reason in (
    (pipe, 'not a regular file'),
    ('/dev/zero', 'not a regular file'),
    (tmp_path, 'not a regular file'),
    (tmp_path / 'link.jpg', 'No such file'),
  ):
    for read in (
      *(pictures.read_picture, pictures.picture_size, pictures.load),
    ):
      with pytest.raises(pictures.UnusablePictureError, match=reason):
        read(name)


def test_scales_16_bits(tmp_path):
  gray = np.linspace(0, 65535, 90 * 60).reshape(60, 90).astype(np.uint16)
  Image.fromarray(gray).save(tmp_path / 'gray.png')
  expected = np.round(gray / 257)
  for channel in range(3):
    np.testing.assert_allclose(
      _read(tmp_path / 'gray.png')[..., channel], expected, atol=1
    )
  color = _ramp().astype(np.uint16) * 257
  cv2.imwrite(str(tmp_path / 'color.png'), color[..., ::-1])
  np.testing.assert_allclose(_read(tmp_path / 'color.png'), _ramp(), atol=1)


def test_converts_cmyk(tmp_path):
  Image.fromarray(_ramp()).convert('CMYK').save(tmp_path / 'a.jpg', quality=95)
  assert np.abs(_read(tmp_path / 'a.jpg') - _ramp()).mean() < 3


def test_palette_and_transparency_become_color_on_white(tmp_path):
  alpha = np.full((60, 90, 1), 255, np.uint8)
  alpha[:, :40] = 0
  Image.fromarray(np.concatenate([_ramp(), alpha], axis=-1)).save(
    tmp_path / 'a.png'
  )
  image = _read(tmp_path / 'a.png')
  assert (image[:, :40] == 255).all()
  np.testing.assert_array_equal(image[:, 40:], _ramp()[:, 40:])
  Image.fromarray(_ramp()).quantize(200).save(tmp_path / 'b.gif')
  assert np.abs(_read(tmp_path / 'b.gif') - _ramp()).mean() < 8


def test_turns_as_exif_says(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6  # Turn right to see it upright.
  Image.fromarray(_ramp()).save(tmp_path / 'a.jpg', exif=exif, quality=95)
  image = _read(tmp_path / 'a.jpg')
  assert image.shape == (90, 60, 3)
  assert np.abs(image - np.rot90(_ramp(), -1)).mean() < 3


def _claims(width, height):
  """Returns a PNG file that claims to be of this size."""

  def chunk(kind, data):
    crc = zlib.crc32(kind + data)
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', crc)

  header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
  return (
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + chunk(b'IDAT', zlib.compress(b'\0' * 100))
  )


@pytest.mark.parametrize(
  'size', [(20_000, 20_000), (30_000, 10_001), (60_000, 40)]
)
def test_rejects_huge_pictures(tmp_path, size):
  (tmp_path / 'a.png').write_bytes(_claims(*size))
  with pytest.raises(pictures.UnusablePictureError, match='at most 300 meg'):
    pictures.read_picture(tmp_path / 'a.png')


def test_rejects_other_files(tmp_path):
  path = tmp_path / 'a.jpg'
  for data in (
    b'',
    b'some text',
    b'%!PS-Adobe-3.0 EPSF-3.0\n',
    b'\xff\xd8\xff',
  ):
    path.write_bytes(data)
    with pytest.raises(pictures.UnusablePictureError, match='not a picture'):
      pictures.read_picture(path)


def test_rejects_broken_and_tiny_pictures(tmp_path):
  path = tmp_path / 'a.jpg'
  noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
  Image.fromarray(noise).save(path)
  path.write_bytes(path.read_bytes()[:3000])
  with pytest.raises(pictures.UnusablePictureError, match='broken'):
    pictures.read_picture(path)
  Image.new('RGB', (1, 1)).save(path)
  with pytest.raises(pictures.UnusablePictureError, match='too small'):
    pictures.read_picture(path)
  Image.fromarray(np.zeros((60, 60), np.float32)).save(tmp_path / 'f.tiff')
  with pytest.raises(pictures.UnusablePictureError, match='unknown range'):
    pictures.read_picture(tmp_path / 'f.tiff')


def test_full_color_keeps_the_color_of_small_objects():
  image = np.full((64, 64, 3), 230, np.uint8)
  cv2.circle(image, (32, 32), 4, (30, 90, 200), -1)
  inside = np.hypot(*(np.indices((64, 64)) - 32)) <= 4

  def error(full_color):
    data = np.frombuffer(pictures.encode_jpeg(image, full_color), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    return np.abs(decoded.astype(int) - image)[inside].mean()

  assert error(full_color=True) < 0.5 * error(full_color=False)


def _jpeg(mode='RGB', more=b'', **kwargs):
  buffer = io.BytesIO()
  Image.new(mode, (64, 64)).save(buffer, 'JPEG', **kwargs)
  return buffer.getvalue() + more


def test_plain_jpeg():
  assert pictures.is_plain_jpeg(_jpeg())
  turned = Image.Exif()
  turned[0x0112] = 6
  assert not pictures.is_plain_jpeg(_jpeg(exif=turned))
  assert not pictures.is_plain_jpeg(_jpeg('L'))
  assert not pictures.is_plain_jpeg(_jpeg('CMYK'))
  assert not pictures.is_plain_jpeg(_jpeg(more=bytes(20_000)))
  assert not pictures.is_plain_jpeg(_jpeg()[:100])
  assert not pictures.is_plain_jpeg(b'')


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif'])
@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_size_matches_the_picture(tmp_path, suffix, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  path = tmp_path / f'turned{suffix}'
  Image.fromarray(_ramp()).save(path, exif=exif)
  assert pictures.picture_size(path) == _read(path).shape[:2]


@pytest.mark.parametrize('content', [b'', b'text', b'\x89PNG\r\n\x1a\n'])
def test_other_files_have_no_size(tmp_path, content):
  path = tmp_path / 'a.png'
  path.write_bytes(content)
  with pytest.raises(pictures.UnusablePictureError, match='not a picture'):
    pictures.picture_size(path)
