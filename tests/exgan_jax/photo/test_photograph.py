"""Photographs go through reading and writing with all that their files tell."""

import functools
import io
import itertools
import os
import pathlib
import re
import struct
import xml.etree.ElementTree as ET
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin
from PIL.TiffImagePlugin import IFDRational

from exgan_jax.errors import InputError
from exgan_jax.face_records import pictures
from exgan_jax.photo import photograph, reader, writer

MARK = 'compositeWithTrainedAlgorithmicMedia'
PACKET = (
  '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
  '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
  '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
  ' dc:source="kept"/></rdf:RDF></x:xmpmeta>'
)
CAMERA = (
  '<e:DigitalSourceType xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
  'http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture'
  '</e:DigitalSourceType></rdf:Description>'
)
PNG_XMP = b'XML:com.adobe.xmp\0\0\0\0\0' + PACKET.encode()
JPEG_XMP = b'http://ns.adobe.com/xap/1.0/\0'


def _noise(channels=3, dtype=np.uint8, size=(47, 61), seed=0):
  high = np.iinfo(dtype).max
  rng = np.random.default_rng(seed)
  pixels = rng.integers(0, high, (*size, channels), dtype, endpoint=True)
  return pixels[..., 0] if channels == 1 else pixels


def _smooth(channels=3, size=(70, 94)):
  y, x = np.indices(size)
  waves = [128 + 90 * np.sin((x + i * y) / 15 + i) for i in range(channels)]
  pixels = np.stack(waves, axis=-1).round().astype(np.uint8)
  return pixels[..., 0] if channels == 1 else pixels


def _exif(orientation=6):
  exif = Image.Exif()
  exif[0x0112], exif[0x010F], exif[0x013B] = orientation, 'Maker', b'J\xfcrg'
  exif.get_ifd(0x8769)[0x9003] = '2020:02:03 04:05:06'
  exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.5)
  return exif


@functools.cache  # It bears the time.
def _profile(moved=False):
  data = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
  if moved:  # Its red is green, its green is blue, and its blue is red.
    data = data.replace(*(s.encode('utf-16-be') for s in ('sRGB', 'GBR_')))
    at = [data.index(name) + 4 for name in (b'rXYZ', b'gXYZ', b'bXYZ')]
    places = [data[i : i + 8] for i in (at[1], at[2], at[0])]
    for i, place in zip(at, places, strict=True):
      data = data[:i] + place + data[i + 8 :]
  return data


def _bytes(format_, pixels, *others, mode=None, **kwargs):
  buffer = io.BytesIO()
  images = [Image.fromarray(p).convert(mode) for p in (pixels, *others)]
  if others:
    kwargs |= {'save_all': True, 'append_images': images[1:]}
  images[0].save(buffer, format_, **kwargs)
  return buffer.getvalue()


def _write(path, pixels, orientation=6, **kwargs):
  """Writes a file without a loss, but JPEG."""
  if pixels.dtype == np.uint16 and pixels.ndim == 3:
    order = [2, 1, 0, 3][: pixels.shape[2]]
    cv2.imwrite(str(path), pixels[..., order])
    _insert(path, 33, _chunk(b'eXIf', _exif(orientation).tobytes()[6:]))
    return path
  lossless = {'lossless': True, 'exact': True} if path.suffix == '.webp' else {}
  exif = _exif(orientation)
  Image.fromarray(pixels).save(path, exif=exif, **lossless, **kwargs)
  return path


def _save(source, path):
  writer.save(reader.read(source), path)
  return path


def _decoded(path, upright=True):
  if path.suffix == '.png' and not upright:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
      return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
  # Not by name: the sides of a plain TIFF file that Pillow maps come out wrong.
  with Image.open(io.BytesIO(path.read_bytes())) as image:
    image.load()
    return np.array(ImageOps.exif_transpose(image) if upright else image)


def _assert_alike(actual, expected, most, mean):
  error = np.abs(actual.astype(int) - expected)
  assert error.max() <= most and error.mean() <= mean


def _insert(path, at, *parts):
  data = path.read_bytes()
  path.write_bytes(data[:at] + b''.join(parts) + data[at:])


def _chunk(name, body):
  crc = zlib.crc32(name + body)
  return struct.pack('>I', len(body)) + name + body + struct.pack('>I', crc)


def _chunks(path):
  data, at = path.read_bytes(), 8
  while at < len(data):
    (length,) = struct.unpack_from('>I', data, at)
    name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
    assert data[at : at + 12 + length] == _chunk(name, body)
    yield name, body
    at += 12 + length


def _segments(path):
  """What the segments of a JPEG file tell, by their markers."""
  data, at = path.read_bytes(), 2
  while data[at + 1] != 0xDA:
    (length,) = struct.unpack_from('>H', data, at + 2)
    if data[at + 1] >= 0xE0:
      yield data[at + 1], data[at + 4 : at + 2 + length]
    at += 2 + length


def _told(path):
  """What a file's only XMP packet tells: names, and what is said of each."""
  (packet,) = re.findall(b'<x:xmpmeta.*</x:xmpmeta>', path.read_bytes(), re.S)
  told = {}
  for element in ET.fromstring(packet).iter():
    for name, value in [(element.tag, element.text), *element.items()]:
      told.setdefault(name.split('}')[-1], []).append(value)
  (source,) = told['DigitalSourceType']
  assert source == f'http://cv.iptc.org/newscodes/digitalsourcetype/{MARK}'
  return told


@pytest.mark.parametrize(
  ('suffix', 'channels', 'dtype'),
  [*itertools.product(['.png', '.tif'], [1, 2, 3, 4], ['uint8']),
   *itertools.product(['.webp'], [3, 4], ['uint8']),
   *itertools.product(['.png'], [1, 3, 4], ['uint16'])],
)  # fmt: skip
def test_what_is_not_touched_stays(tmp_path, suffix, channels, dtype):
  path, pixels = tmp_path / f'a{suffix}', _noise(channels, dtype)
  # In WebP files a profile goes first, however long.
  _write(path, pixels, icc_profile=bytes(9000) if suffix == '.webp' else None)
  picture = reader.read(path)
  assert picture.pixels.dtype == dtype
  assert picture.has_alpha == (channels in (2, 4))
  saved = _save(path, tmp_path / f'b{suffix}')
  if suffix == '.tif':  # Pillow turns these itself.
    np.testing.assert_array_equal(_decoded(saved), np.rot90(pixels, -1))
    return
  np.testing.assert_array_equal(picture.stored.squeeze(), pixels)
  np.testing.assert_array_equal(_decoded(saved, upright=False), pixels)
  with Image.open(saved) as image:
    assert image.getexif()[0x0112] == 6


@pytest.mark.parametrize('transparent', [False, True])
@pytest.mark.parametrize('suffix', ['.png', '.gif', '.tif'])
def test_palettes_become_colors(tmp_path, suffix, transparent):
  transparent &= suffix != '.tif'
  image = Image.fromarray(_noise()).quantize(20)
  options = {'transparency': 3} if transparent else {}
  image.save(tmp_path / f'a{suffix}', **options)
  saved = tmp_path / f'b{suffix.replace("gif", "png")}'
  pixels = _decoded(_save(tmp_path / f'a{suffix}', saved))
  assert pixels.shape[2] == 3 + transparent
  np.testing.assert_array_equal(pixels[..., :3], image.convert('RGB'))
  if transparent:
    alpha = np.where(np.array(image) == 3, 0, 255)
    np.testing.assert_array_equal(pixels[..., 3], alpha)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['.png', '.webp', '.jpg', '.tif'])
def test_is_read_upright(tmp_path, suffix, orientation):
  path = _write(tmp_path / f'a{suffix}', _smooth(), orientation)
  picture = reader.read(path)
  np.testing.assert_array_equal(picture.pixels, _decoded(path))
  saved = _save(path, tmp_path / f'b{suffix}')
  _assert_alike(_decoded(saved), _decoded(path), 8, 1)
  if suffix != '.tif':
    stored = _decoded(path, upright=False)
    np.testing.assert_array_equal(picture.stored, stored)
    assert reader.read(saved).orientation == orientation


@pytest.mark.parametrize(
  'kind',
  ['plain', '422', '444', '440', '411', 'grey', 'progressive', 'adobe',
   'several', 'bare', 'camera'],
)  # fmt: skip
def test_jpeg_loses_next_to_nothing(tmp_path, kind):
  path, pixels = tmp_path / 'a.jpg', _smooth(1 if kind == 'grey' else 3)
  others = [pixels] if kind == 'several' else []
  options = {
    '422': {'subsampling': 1}, '444': {'subsampling': 0},
    'progressive': {'progressive': True}, 'adobe': {'keep_rgb': True},
  }.get(kind, {})  # fmt: skip
  name = 'MPO' if others else 'JPEG'
  path.write_bytes(_bytes(name, pixels, *others, quality=88, **options))
  if kind in ('440', '411'):
    factor = getattr(cv2, f'IMWRITE_JPEG_SAMPLING_FACTOR_{kind}')
    factor = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    cv2.imwrite(str(path), pixels[..., ::-1], factor)
  if kind in ('bare', 'camera'):
    path.write_bytes(b'\xff\xd8' + path.read_bytes()[20:])
    assert not list(_segments(path))
  if kind == 'camera':
    for marker, body in (
      (0xFE, b'a comment'), (0xED, b'Photoshop 3.0\x008BIM\4\4\0\0\0\0\0\2hi'),
      (0xE2, b'ICC_PROFILE\0\1\1' + _profile()), (0xE2, b'FPXR\0any'),
      (0xE1, JPEG_XMP + PACKET.encode()), (0xE1, _exif().tobytes()),
    ):  # fmt: skip
      _insert(path, 2, struct.pack('>BBH', 255, marker, len(body) + 2), body)
  saved = _save(path, tmp_path / 'b.jpg')

  def others_of(path):
    left = (JPEG_XMP, b'Adobe')
    if kind == 'several':  # Its positions change.
      left = (*left, b'MPF\0')
    return [part for part in _segments(path) if not part[1].startswith(left)]

  if others_of(path):
    assert others_of(saved) == others_of(path)
  else:
    assert others_of(saved)[0][1].startswith(b'JFIF\0')
  count = len(others_of(saved)) + 1 + (kind == 'several')
  assert len(list(_segments(saved))) == count
  assert ('source' in _told(saved)) == (kind == 'camera')
  if kind == 'camera':  # Some readers look for EXIF data there only.
    assert next(_segments(saved))[1].startswith(b'Exif')
  with Image.open(path) as before, Image.open(saved) as after:
    assert after.format == before.format
    assert after.quantization == before.quantization
    assert after.info.get('progressive') == before.info.get('progressive')
    if kind not in ('440', '411'):  # Pillow has no such kinds.
      sampling = JpegImagePlugin.get_sampling(before)
      assert JpegImagePlugin.get_sampling(after) == sampling
    _assert_alike(np.array(after), np.array(before), 12, 1)


def test_colors_of_rare_kinds_of_jpeg_are_not_smoothed(tmp_path):
  factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440
  factor = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
  cv2.imwrite(str(tmp_path / 'a.jpg'), _noise(), factor)
  saved = _save(tmp_path / 'a.jpg', tmp_path / 'b.jpg')
  _assert_alike(_decoded(saved), _decoded(tmp_path / 'a.jpg'), 20, 3)


def test_progressive_noise_can_be_written(tmp_path, monkeypatch):
  # More than Pillow has room for, unless told.
  monkeypatch.setattr('PIL.ImageFile.MAXBLOCK', 10**7)
  options = {'qtables': [[1] * 64] * 2, 'subsampling': 0, 'progressive': True}
  Image.fromarray(_noise(size=(300, 400))).save(tmp_path / 'a.jpg', **options)
  monkeypatch.undo()
  saved = _save(tmp_path / 'a.jpg', tmp_path / 'b.jpg')
  _assert_alike(_decoded(saved), _decoded(tmp_path / 'a.jpg'), 6, 1)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_chunks_of_png_are_kept(tmp_path, dtype):
  path = tmp_path / 'a.png'
  cv2.imwrite(str(path), _noise(dtype=dtype))
  named = {
    b'iCCP': b'x\0\0' + zlib.compress(_profile()), b'gAMA': b'\0\0\xb1\x8f',
    b'pHYs': struct.pack('>IIB', 3780, 3780, 1), b'tEXt': b'Title\0a\xe9',
    b'iTXt': b'Author\0\0\0\0\0' + 'Jürgen'.encode(),
  }  # fmt: skip
  _insert(path, 33, *itertools.starmap(_chunk, named.items()))
  late = (b'eXIf', _exif().tobytes()[6:])
  packed = PNG_XMP[:18] + b'\1\0\0\0' + zlib.compress(PACKET.encode())
  _insert(path, -12, _chunk(*late), _chunk(b'iTXt', packed))
  saved = _save(_save(path, tmp_path / 'b.png'), tmp_path / 'c.png')
  found = list(_chunks(saved))
  assert [found.count(part) for part in [*named.items(), late]] == [1] * 6
  assert _told(saved)['source'] == ['kept']
  with Image.open(saved) as image:
    image.verify()


SUFFIXES = ('.png', '.jpg', '.webp', '.tif', '.heic')


@pytest.mark.parametrize('target', SUFFIXES)
@pytest.mark.parametrize('source', SUFFIXES)
def test_other_formats_are_told_the_same(tmp_path, source, target):
  if '.heic' in (source, target):
    pytest.importorskip('pillow_heif', reason='the extra heic is missing')
  path = _write(
    tmp_path / 'a.png', _smooth(), icc_profile=_profile(), dpi=(300, 300)
  )
  _insert(path, 33, _chunk(b'iTXt', PNG_XMP))
  for name in (f'b{source}', f'c{target}', f'd{target}'):
    path = _save(path, tmp_path / name)
  pixels = reader.read(path).pixels
  _assert_alike(pixels, np.rot90(_smooth(), -1), 25, 4)
  assert _told(path)['source'] == ['kept']
  with Image.open(path) as image:
    exif = image.getexif()
    assert exif[0x010F] == 'Maker' and exif[0x013B] == 'Jürg'
    assert exif.get_ifd(0x8769)[0x9003] == '2020:02:03 04:05:06'
    assert exif.get_ifd(0x8825)[2] == (1.0, 2.0, 3.5)
    assert image.info['icc_profile'] == _profile()
    if {source, target} <= {'.png', '.jpg', '.tif'}:
      assert image.info['dpi'] == pytest.approx((300, 300), abs=0.1)


def test_deep_tiff_becomes_png_with_what_it_tells(tmp_path):
  path, pixels = tmp_path / 'a.tif', _noise(1, np.uint16)
  _write(path, pixels, icc_profile=_profile(), dpi=(300, 300))
  saved = _save(path, tmp_path / 'b.png')
  np.testing.assert_array_equal(_decoded(saved), np.rot90(pixels, -1))
  picture = reader.read(saved)
  assert picture.profile == _profile() and b'Maker' in picture.metadata['exif']
  assert picture.metadata['dpi'] == pytest.approx((300, 300), abs=0.1)


def _deep_tiff(pixels, orientation):
  """A plain TIFF file of 16 bits per color, which Pillow cannot write."""
  height, width, channels = pixels.shape
  tags = {
    256: width, 257: height, 258: 16, 259: 1, 262: 2, 273: 0,
    274: orientation, 277: channels, 278: height, 279: pixels.nbytes, 284: 1,
  }  # fmt: skip
  tags |= {338: 2} if channels == 4 else {}  # Alpha, not multiplied.
  start = 8 + 2 + 12 * len(tags) + 4
  tags[258], tags[273] = start, start + 2 * channels
  directory = struct.pack('<H', len(tags))
  for tag, value in sorted(tags.items()):
    count = channels if tag == 258 else 1
    kind = 3 if tag in (258, 274, 338) else 4
    directory += struct.pack('<HHII', tag, kind, count, value)
  bits = struct.pack('<H', 16) * channels
  head = b'II*\0' + struct.pack('<I', 8)
  return head + directory + bytes(4) + bits + pixels.tobytes()


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('channels', [3, 4])
def test_deep_color_of_tiff_is_kept(tmp_path, channels, orientation):
  pixels = np.repeat(np.repeat(_noise(channels, np.uint16), 8, 0), 8, 1)
  path = tmp_path / 'a.tif'
  path.write_bytes(_deep_tiff(pixels, orientation))
  saved = _save(path, tmp_path / 'b.png')
  found = reader.read(saved).pixels
  assert found.dtype == np.uint16
  transposed, mirrored = photograph.UPRIGHT[orientation]
  expected = pixels.swapaxes(0, 1) if transposed else pixels
  np.testing.assert_array_equal(found, np.flip(expected, mirrored))
  if channels == 3:
    _assert_alike(pictures.read_picture(path), found / 257, 1, 1)


def test_deep_avif_is_kept(tmp_path):
  pixels = _smooth().astype(np.uint16) * 4 + 1
  path = tmp_path / 'a.avif'
  options = [cv2.IMWRITE_AVIF_DEPTH, 10, cv2.IMWRITE_AVIF_QUALITY, 100]
  cv2.imwrite(str(path), pixels[..., ::-1], options)
  found = reader.read(path).pixels
  assert found.dtype == np.uint16
  expected = pixels * (65535 / 1023)
  assert np.abs(found - expected).mean() < 100  # Of 257 in 8 bits.
  with pytest.raises(InputError, match='16 bits'):
    _save(path, tmp_path / 'b.avif')


def test_deep_grey_with_alpha_is_written_as_colour(tmp_path):
  path, pixels = tmp_path / 'a.png', _noise(2, np.uint16)
  writer.save(photograph.from_array(pixels), path)
  found = _decoded(path, upright=False)
  np.testing.assert_array_equal(found, pixels[..., [0, 0, 0, 1]])


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif'])
@pytest.mark.parametrize('rest', [b'', b'no', b'MM\0*\0\0\0\x08\0\x09\1'])
def test_broken_exif_spoils_nothing(tmp_path, suffix, rest):
  path = tmp_path / 'a.jpg'
  Image.fromarray(_smooth()).save(path, exif=b'Exif\0\0' + rest)
  saved = _save(path, tmp_path / f'b{suffix}')
  _assert_alike(reader.read(saved).pixels, _smooth(), 30, 3)


@pytest.mark.parametrize('compression', ['raw', 'tiff_lzw', 'jpeg'])
@pytest.mark.parametrize('suffix', ['.tif', '.jpg'])
def test_layout_of_tiff_is_left_behind(tmp_path, suffix, compression):
  exif = Image.Exif()
  exif[0x0112], exif[0x010F] = 6, 'Maker'
  if compression == 'raw':  # Others refuse what is not a number.
    exif[282] = exif[283] = IFDRational(0, 0)
  path = tmp_path / 'a.tif'
  Image.fromarray(_smooth()).save(path, exif=exif, compression=compression)
  saved = _save(path, tmp_path / f'b{suffix}')
  _assert_alike(_decoded(saved), _decoded(path), 12, 1)
  if suffix == '.jpg':
    with Image.open(saved) as image:
      assert set(image.getexif()) <= {0x010F, 282, 283, 296}


@pytest.mark.parametrize(
  'packet',
  [PACKET, PACKET.replace('rdf:', 'r:').replace(':rdf', ':r'),
   PACKET.replace('"kept"/>', '"kept">' + CAMERA)],
)  # fmt: skip
def test_mark_stands_once_among_what_was_told(tmp_path, packet):
  path = tmp_path / 'a.webp'
  Image.fromarray(_noise()).save(path, xmp=packet.encode())
  for _ in range(2):
    assert _told(_save(path, path))['source'] == ['kept']
  # That a model made all of it says more.
  made = packet.replace('digitalCapture', 'trainedAlgorithmicMedia').encode()
  assert made == packet.encode() or writer.marked(made) == made


@pytest.mark.parametrize(
  'name',
  ['L.png', 'LA.png', 'RGB.jpg', 'RGBA.png', 'RGBA.webp', 'I;16.png',
   '16.png', '1.png', 'P.gif', 'RGB.bmp', 'RGB.tif'],
)  # fmt: skip
def test_is_seen_as_elsewhere(tmp_path, name):
  path, mode = tmp_path / name, name.split('.')[0]
  if '16' in mode:
    _write(path, _noise(1 if ';' in mode else 3, np.uint16))
  else:
    Image.fromarray(_noise(4)).convert(mode).save(path, exif=_exif())
  seen = reader.read(path).seen()
  assert seen.dtype == np.uint8 and seen.flags['C_CONTIGUOUS']
  _assert_alike(seen, pictures.read_picture(path), 1, 1)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('turned', [False, True])
def test_changes_only_what_is_laid_over(channels, dtype, turned):
  pixels = _noise(channels, dtype)
  pixels = np.flip(pixels.swapaxes(0, 1), 1) if turned else pixels
  picture = photograph.from_array(pixels)
  before = picture.pixels.copy()
  opacity = np.zeros((9, 7), np.float32)
  opacity[3, 2], opacity[4, 4] = 0.25, 1
  colors = np.full((9, 7, 3), (1.0, 0.5, 0.25), np.float32)
  after = picture.blended(5, 8, colors, opacity).pixels
  np.testing.assert_array_equal(picture.pixels, before)
  luma = 0.299 * 1 + 0.587 * 0.5 + 0.114 * 0.25
  color = np.float64([1, 0.5, 0.25] if channels > 2 else [luma])
  color *= np.iinfo(dtype).max
  solid = slice(0, len(color))
  expected = before.astype(float)
  expected[8, 10, solid] += 0.25 * (color - expected[8, 10, solid])
  expected[9, 12, solid] = color
  np.testing.assert_allclose(after.astype(float), expected, rtol=0, atol=0.51)
  changed = (after != before).any(axis=-1)
  assert after.dtype == dtype and np.argwhere(changed).tolist() == [
    [8, 10], [9, 12]
  ]  # fmt: skip


def test_colors_are_those_of_the_profile(tmp_path):
  path, pixels = tmp_path / 'a.png', _smooth() // 2 + 60
  path.write_bytes(_bytes('PNG', pixels, icc_profile=_profile(moved=True)))
  picture = reader.read(path)
  srgb = picture.to_srgb(picture.seen())
  _assert_alike(srgb, pixels[..., [2, 0, 1]], 3, 1)
  back = 255 * picture.from_srgb(srgb.astype(np.float32) / 255)
  np.testing.assert_allclose(back, pixels, atol=3)
  for profile in (_profile(moved=True)[:200], b'nothing', _profile()):
    path.write_bytes(_bytes('PNG', pixels, icc_profile=profile))
    picture = reader.read(path)
    assert picture.profile == profile
    np.testing.assert_array_equal(picture.to_srgb(pixels), pixels)
    same = np.float32(pixels) / 255
    np.testing.assert_array_equal(picture.from_srgb(same), same)


PAIR = _noise(), _noise(seed=1)


@pytest.mark.parametrize(
  ('content', 'reason'),
  [
    (b'some text', 'not a picture'), (b'', 'not a picture'),
    (_bytes('JPEG', _noise())[:2000], 'broken'),
    (_bytes('PNG', _noise())[:2000], 'broken'),
    (cv2.imencode('.png', _noise(3, np.uint16))[1].tobytes()[:2000], 'broken'),
    (_bytes('GIF', *PAIR), 'several'), (_bytes('WEBP', *PAIR), 'several'),
    (_bytes('PNG', *PAIR), 'several'), (_bytes('TIFF', *PAIR), 'several'),
    (_bytes('JPEG', _noise(), mode='CMYK'), 'CMYK'),
    (_bytes('TIFF', np.ones((50, 50), np.float32)), 'range'),
    (_bytes('PNG', _noise(size=(31, 90))), 'too small'),
  ],
)  # fmt: skip
def test_refuses_what_it_could_not_write_again(tmp_path, content, reason):
  path = tmp_path / 'a.png'
  path.write_bytes(content)
  with pytest.raises(InputError, match=reason) as error:
    reader.read(path)
  assert str(path) in str(error.value) and '\n' not in str(error.value)


def test_refuses_paths_and_formats_that_will_not_do(tmp_path):
  for path, reason in (
    (tmp_path, 'not a regular'),
    (tmp_path / 'no', 'No such'),
  ):
    with pytest.raises(InputError, match=reason):
      reader.read(path)
  for pixels, name, reason in (
    (_noise(), 'a.xyz', 'should end in one of .jpg'),
    (_noise(), 'a', 'should end in one of .jpg'),
    (_noise(4), 'a.jpg', 'transparency'),
    (_noise(2), 'a.JPEG', 'transparency'),
    (_noise(3, np.uint16), 'a.jpg', '16 bits'),
    (_noise(3, np.uint16), 'a.tif', '16 bits'),
    (_noise(1, np.uint16), 'a.webp', '16 bits'),
    (np.zeros((32, 16384, 3), np.uint8), 'a.webp', 'too large'),
  ):
    with pytest.raises(InputError, match=reason):
      writer.save(photograph.from_array(pixels), tmp_path / name)
  exif = Image.Exif()
  exif[0x010F] = 'M' * 70_000
  Image.fromarray(_noise()).save(tmp_path / 'a.png', exif=exif)
  with pytest.raises(InputError, match='metadata'):
    _save(tmp_path / 'a.png', tmp_path / 'a.jpg')
  assert os.listdir(tmp_path) == ['a.png']
  for bad in (np.zeros((50, 50), np.float32), np.zeros((50, 50, 5), np.uint8)):
    with pytest.raises(InputError):
      photograph.from_array(bad)


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
  path, replace = tmp_path / 'a.png', os.replace
  # Less than what a file keeps back until it is closed.
  picture = photograph.from_array(_noise(size=(32, 32)))

  def replace_by_all(source, target):
    whole = writer.encode(picture, 'PNG')
    assert pathlib.Path(source).read_bytes() == whole
    replace(source, target)

  def fail(source, target):
    raise OSError('no room')

  monkeypatch.setattr(os, 'replace', replace_by_all)
  writer.save(picture, path)
  plain = tmp_path / 'plain'
  plain.touch()
  assert path.stat().st_mode == plain.stat().st_mode
  plain.unlink()
  before = path.read_bytes()
  monkeypatch.setattr(os, 'replace', fail)
  with pytest.raises(OSError, match='no room'):
    writer.save(photograph.from_array(_noise(seed=1)), path)
  assert os.listdir(tmp_path) == ['a.png'] and path.read_bytes() == before


@pytest.mark.parametrize('seed', range(50))
def test_nothing_changes_elsewhere(tmp_path, seed):
  rng = np.random.default_rng(seed)
  suffix = ('.png', '.webp', '.tif', '.jpg', '.png')[seed % 5]
  least, most = {'.webp': (3, 4), '.jpg': (1, 3)}.get(suffix, (1, 4))
  channels = int(rng.integers(least, most + 1))
  channels = 3 if suffix == '.jpg' and channels == 2 else channels
  deep = suffix == '.png' and channels == 1 and rng.random() < 0.5
  size = rng.integers(33, 401, 2)
  pixels = _noise(channels, np.uint16 if deep else np.uint8, size, seed)
  if suffix == '.jpg':
    pixels = _smooth(channels, size)
  path = _write(tmp_path / f'a{suffix}', pixels, int(rng.integers(1, 9)))
  picture = reader.read(path)
  top, left = (int(rng.integers(0, side - 8)) for side in picture.size)
  height, width = rng.integers(4, 9, 2)
  opacity = rng.random((height, width), np.float32).round(1)
  colors = rng.random((height, width, 3), np.float32)
  saved = tmp_path / f'b{suffix}'
  writer.save(picture.blended(top, left, colors, opacity), saved)
  error = np.abs(_decoded(saved).astype(int) - _decoded(path))
  error = error.reshape(*picture.size, -1).max(axis=-1)
  part = error[top : top + height, left : left + width]
  assert part[opacity > 0.5].any()
  if suffix == '.jpg':
    # Blocks of 16 pixels are written together, and colors smoothed.
    error[max(top - 18, 0) : top + 27, max(left - 18, 0) : left + 27] = 0
    assert error.max() < 12 and error.mean() < 2
  else:
    assert not part[opacity == 0].any()
    part[:] = 0
    assert not error.any()
