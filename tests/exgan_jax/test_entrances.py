"""All entrances take the same awkward files, and say the same of the others.

python tests/exgan_jax/test_entrances.py prints the table of docs/photos.md.
"""

import functools
import io
import json
import os
import pathlib
import struct
import sys
import zlib

import cv2
import drawn
import numpy as np
import pytest
from PIL import Image

from exgan_jax.errors import InputError
from exgan_jax.evaluation import folders
from exgan_jax.face_records import pictures
from exgan_jax.face_records.alignment import Face
from exgan_jax.photo import files as files_lib
from exgan_jax.photo.inpainter import Inpainter
from exgan_jax.photo.page import Page
from tfds_celeb_id import photos
from tfds_celeb_id.celeb_id import entries, listing, sources

SIZE = (64, 80)
DOCS = pathlib.Path(__file__).parents[2] / 'docs' / 'photos.md'
READ = 'read'
ENTRANCES = (
  'inpaint', 'inpaint FOLDER', 'app', 'photo_id', 'celeb_id', 'score',
)  # fmt: skip
# Entrances that write the photograph again refuse what that would lose.
WRITERS = ENTRANCES[:3]


def _pixels(channels=3, dtype=np.uint8, seed=0):
  y, x = np.indices(SIZE)
  waves = [0.5 + 0.4 * np.sin((x + i * y) / 9 + i + seed) for i in range(3)]
  waves.append(np.clip(x / 40, 0, 1))
  levels = np.stack(waves[:channels], -1) * np.iinfo(dtype).max
  return levels.round().astype(dtype).squeeze()


def _file(format_, pixels=None, *others, mode=None, **options):
  pictures.formats()
  images = [
    Image.fromarray(each).convert(mode)
    for each in (_pixels() if pixels is None else pixels, *others)
  ]
  if others:
    options |= {'save_all': True, 'append_images': images[1:]}
  buffer = io.BytesIO()
  images[0].save(buffer, format_, **options)
  return buffer.getvalue()


def _of_opencv(suffix, pixels, *options):
  return cv2.imencode(suffix, pixels, options)[1].tobytes()


def _deep_heic():
  import pillow_heif

  buffer = io.BytesIO()
  made = pillow_heif.from_bytes('RGB;16', SIZE[::-1], _deep().tobytes())
  made.save(buffer, bit_depth=10)
  return buffer.getvalue()


def _deep():
  return _pixels(dtype=np.uint16)


def _exif(orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  return exif


def _claims(width, height):
  fields = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
  chunk = struct.pack('>I', 13) + fields + struct.pack('>I', zlib.crc32(fields))
  return b'\x89PNG\r\n\x1a\n' + chunk + struct.pack('>I', 99) + b'IDAT'


def _with_junk(data):
  return data[:20] + bytes(3) + data[20:]


SEVERAL = 'holds several pictures'
CMYK = 'colors of kind CMYK: use RGB'
RANGE = 'unknown range of brightness'
NONE = 'No such file or directory'
pair = _pixels(), _pixels(seed=1)
# What each file is called, what makes it, and what is said of it: by all, or
# by those who would have to write it again.
FILES = {
  'plain.jpg': (lambda: _file('JPEG'), READ),
  'upper case.JPG': (lambda: _file('JPEG'), READ),
  'old suffix.jfif': (lambda: _file('JPEG'), READ),
  'gray.jpg': (lambda: _file('JPEG', _pixels(1)), READ),
  'progressive.jpg': (lambda: _file('JPEG', progressive=True), READ),
  'turned.jpg': (lambda: _file('JPEG', exif=_exif(6)), READ),
  'broken EXIF.jpg': (lambda: _file('JPEG', exif=b'Exif\0\0MM'), READ),
  'broken profile.jpg': (lambda: _file('JPEG', icc_profile=b'no'), READ),
  'junk between.jpg': (lambda: _with_junk(_file('JPEG')), READ),
  'video behind.jpg': (lambda: _file('JPEG') + b'\0\0\0\x18ftypmp42', READ),
  'previews.mpo': (lambda: _file('MPO', *pair), READ),
  'CMYK.jpg': (lambda: _file('JPEG', mode='CMYK'), READ, CMYK),
  'transparent.png': (lambda: _file('PNG', _pixels(4)), READ),
  'gray and alpha.png': (
    lambda: _file('PNG', _pixels(4), mode='LA'), READ,
  ),
  'palette.png': (lambda: _file('PNG', mode='P'), READ),
  '1 bit.png': (lambda: _file('PNG', mode='1'), READ),
  '16 bit gray.png': (lambda: _file('PNG', _pixels(1, np.uint16)), READ),
  '16 bit color.png': (lambda: _of_opencv('.png', _deep()), READ),
  'animated.png': (lambda: _file('PNG', *pair), READ, SEVERAL),
  'plain.webp': (lambda: _file('WEBP'), READ),
  'animated.webp': (lambda: _file('WEBP', *pair), READ, SEVERAL),
  'plain.gif': (lambda: _file('GIF'), READ),
  'animated.gif': (lambda: _file('GIF', *pair), READ, SEVERAL),
  'plain.bmp': (lambda: _file('BMP'), READ),
  'plain.ppm': (lambda: _file('PPM'), READ),
  'plain.tif': (lambda: _file('TIFF'), READ),
  'turned.tif': (lambda: _file('TIFF', exif=_exif(8)), READ),
  '16 bit gray.tif': (lambda: _file('TIFF', _pixels(1, np.uint16)), READ),
  '16 bit color.tif': (lambda: _of_opencv('.tif', _deep()), READ),
  'float.tif': (
    lambda: _file('TIFF', _pixels(1).astype(np.float32)), RANGE,
  ),
  'two pages.tif': (lambda: _file('TIFF', *pair), READ, SEVERAL),
  'plain.avif': (lambda: _file('AVIF', speed=10), READ),
  '10 bit.avif': (
    lambda: _of_opencv('.avif', _deep() // 64, cv2.IMWRITE_AVIF_DEPTH, 10),
    READ,
  ),
  'plain.heic': (lambda: _file('HEIF'), READ),
  '10 bit.heic': (_deep_heic, READ),
  'two pictures.heic': (lambda: _file('HEIF', *pair), READ),
  'PNG named.jpg': (lambda: _file('PNG'), READ),
  'text.jpg': (lambda: b'some text', 'not a picture'),
  'empty.jpg': (lambda: b'', 'not a picture'),
  'drawing.png': (lambda: b'<svg xmlns="x"/>', 'not a picture'),
  'program.jpg': (lambda: b'%!PS-Adobe-3.0 EPSF-3.0\n', 'not a picture'),
  'cut.jpg': (lambda: _file('JPEG')[:900], 'broken'),
  'cut.png': (lambda: _file('PNG')[:900], 'broken'),
  'one pixel.png': (
    lambda: _file('PNG', np.zeros((1, 1, 3), np.uint8)),
    'too small (at least 32 px a side)',
  ),
  'huge.png': (lambda: _claims(50_000, 50_000), pictures.TOO_LARGE),
  'pipe.jpg': (os.mkfifo, 'not a regular file'),
  'lost link.jpg': (lambda path: os.symlink('none', path), NONE),
  f'{"l" * 249}.png': (lambda: _file('PNG'), READ),
  os.fsdecode(b'J\xfcrgen.png'): (lambda: _file('PNG'), READ),
  'e\u0301.png': (lambda: _file('PNG'), READ),
}  # fmt: skip


def write(folder):
  for name, (make, *_) in FILES.items():
    if 'heic' in name:
      pytest.importorskip('pillow_heif', reason='the extra heic is missing')
    try:
      (folder / name).write_bytes(make())
    except TypeError:  # It is no file of bytes.
      make(folder / name)


def _inpainter(folder):
  """An inpainter that finds a face in the reference, and in no other."""
  finder = drawn.Finder()
  reference = folder / 'reference.png'
  Image.fromarray(finder.draw((201, 221), (5, 1, False))).save(reference)
  return Inpainter(None, finder), reference


def _detector(_):
  class Detector:
    def detect(self, image):
      return []

    def close(self):
      pass

  return Detector()


def _raw(name):
  face = Face(((30, 30), (50, 30)), (40, 50), 40, 40, 40, 40, 0, 1, 0)
  return listing.Raw('a', name, face)


def said(folder, aside):
  """What each entrance says of each file, by their names."""
  inpainter, reference = _inpainter(aside)
  files_lib.inpaint_folder(inpainter, folder, [reference], aside / 'out')
  lines = (aside / 'out' / files_lib.LOG).read_text().splitlines()
  of_folder = {
    each['photograph']: each['done'] for each in map(json.loads, lines)
  }
  page = Page(inpainter, aside)
  source = sources.Folder(os.fspath(folder))

  def one(path):
    files_lib.inpaint_file(inpainter, path, [reference], aside / 'out.png')

  def of_score(path):
    paths = {'truth': path, 'painted': path}
    folders._read(paths, folders._size(paths))

  def rejected(result):
    return getattr(result, 'reason', READ)

  found = {}
  for name in FILES:
    path = folder / name
    photo = photos.Photo(os.fspath(path), 'a', name)
    answers = (
      _caught(one, path),
      of_folder.get(name, 'not looked at'),
      _caught(page.look, os.fspath(path)),
      rejected(photos.align_photo(photo, _detector, None, 64)),
      rejected(entries.make_entry(_raw(name), source, 64)),
      _caught(of_score, path),
    )
    found[name] = dict(zip(ENTRANCES, map(_short, answers), strict=True))
  return found


def _caught(act, path):
  try:
    act(path)
  except InputError as error:
    text = str(error).removeprefix(f'{path}: ')
    return text.removeprefix(f'{pathlib.Path(path).name}: ')
  return READ


def _short(answer):
  return READ if answer.startswith('no face') else answer


def expected(name):
  _, of_all, *of_writers = FILES[name]
  return {
    entrance: of_writers[0] if of_writers and entrance in WRITERS else of_all
    for entrance in ENTRANCES
  }


@functools.cache
def rows():
  """The table of the documentation."""
  lines = ['| file | `inpaint`, `app` | `photo_id`, `celeb_id`, `score` |']
  lines.append('|---|---|---|')
  for name in FILES:
    shown = name if len(name) < 50 else 'a name of 253 bytes'
    shown = shown.encode('ascii', 'backslashreplace').decode()
    answers = expected(name)
    lines.append(f'| {shown} | {answers["inpaint"]} | {answers["score"]} |')
  return '\n'.join(lines)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_entrances_say_the_same(tmp_path):
  folder, aside = tmp_path / 'files', tmp_path / 'aside'
  folder.mkdir(), aside.mkdir()
  write(folder)
  assert len(FILES) >= 40
  found = said(folder, aside)
  assert found == {name: expected(name) for name in FILES}


def test_the_documentation_has_the_table():
  assert rows() in DOCS.read_text()


@pytest.mark.slow
def test_a_folder_goes_on_past_what_is_broken(tmp_path):
  folder, aside = tmp_path / 'files', tmp_path / 'aside'
  folder.mkdir(), aside.mkdir()
  write(folder)
  for name in list(FILES)[40:]:  # Some that are read, some that are not.
    if FILES[name][1] == READ:
      (folder / name).unlink()
  awkward = len(os.listdir(folder))
  finder = drawn.Finder()
  image = finder.draw((200, 202), (5, 0, True))
  for number in range(200 - awkward):
    Image.fromarray(image).save(folder / f'{number:03}.png')
  reference = aside / 'reference.png'
  Image.fromarray(finder.draw((201, 221), (5, 1, False))).save(reference)
  inpainter = Inpainter(drawn.painter(), finder)
  out = aside / 'out'
  tally = files_lib.inpaint_folder(inpainter, folder, [reference], out)
  refused = [
    name for name in FILES
    if os.path.lexists(folder / name) and expected(name)['inpaint'] != READ
  ]  # fmt: skip
  assert tally == files_lib.Tally(
    200 - awkward, 200 - awkward, len(refused), 200
  )
  lines = (out / files_lib.LOG).read_text().splitlines()
  told = {each['photograph']: each['done'] for each in map(json.loads, lines)}
  assert len(told) == 200
  assert all(told[name] == expected(name)['inpaint'] for name in refused)
  assert len([path for path in out.iterdir() if path.suffix == '.png']) == (
    200 - awkward
  )


if __name__ == '__main__':
  sys.path.insert(0, os.fspath(DOCS.parents[1] / 'tests' / 'support'))
  print(rows())
