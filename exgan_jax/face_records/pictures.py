"""Reads picture files from untrusted sources to RGB, and writes JPEG."""

import contextlib
import functools
import io
import os
import pathlib
import warnings
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import ExifTags, Image, ImageOps

from exgan_jax import files

# Suffixes of all pictures that are read, and Pillow's names of their formats.
# Pillow has more decoders, and some of them start other programs.
KINDS = {
  '.jpg': 'JPEG', '.jpeg': 'JPEG', '.jpe': 'JPEG', '.jfif': 'JPEG',
  '.mpo': 'JPEG', '.png': 'PNG', '.webp': 'WEBP', '.avif': 'AVIF',
  '.tif': 'TIFF', '.tiff': 'TIFF', '.bmp': 'BMP', '.gif': 'GIF',
  '.ppm': 'PPM', '.pgm': 'PPM', '.pnm': 'PPM',
  '.heic': 'HEIF', '.heif': 'HEIF', '.hif': 'HEIF',
}  # fmt: skip
# A small file may decode to any number of pixels.
MAX_PIXELS = 300_000_000
MAX_BYTES = 1_000_000_000
# The limit of `cv2.warpAffine`.
MAX_SIDE = 32_000
MIN_SIDE = 32

TOO_LARGE = (
  f'too large (at most {MAX_PIXELS // 10**6} megapixels and {MAX_SIDE:,} px a'
  ' side)'
)
JPEG_QUALITY = 95

# EXIF orientations that swap width and height.
TURNED = (5, 6, 7, 8)


_HEIF_HEADS = (b'ftypheic', b'ftypheix', b'ftypmif1', b'ftypheim', b'ftypheis')
# Above it Pillow would warn, and above its double refuse.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

Path = str | os.PathLike


class UnusablePictureError(ValueError):
  """A picture cannot be used; the message says why."""


@functools.cache
def formats() -> tuple[str, ...]:
  """Pillow's names of the formats that this installation reads."""
  try:  # HEIC needs a plug-in, the extra `heic`.
    import pillow_heif
  except ImportError:
    return tuple({*KINDS.values()} - {'HEIF'})
  pillow_heif.register_heif_opener()
  return tuple({*KINDS.values()})


def pictures_in(folder: Path) -> list[pathlib.Path]:
  """Returns what is named like a picture in a folder, sorted by name.

  Sub-folders are part of it; hidden files and folders, and linked folders,
  which may lead out or in a circle, are not.
  """
  found = []
  for where, folders, names in os.walk(os.fspath(folder)):
    folders[:] = [name for name in folders if not name.startswith('.')]
    found += [
      pathlib.Path(where, name)
      for name in names
      if not name.startswith('.') and pathlib.Path(name).suffix.lower() in KINDS
    ]
  return sorted(found)


def load(path: Path) -> bytes:
  """Returns the bytes of a picture file.

  Raises:
    UnusablePictureError: it cannot be read, is no regular file, or too large.
  """
  try:
    return files.read_bytes(path, MAX_BYTES)
  except files.FileError as error:
    raise UnusablePictureError(error.reason) from error


def read_picture(source: Path | bytes) -> UInt8[np.ndarray, 'h w 3']:
  """Reads a file, or the bytes of one, as RGB, rotated by its EXIF data.

  Transparent parts become white, and 16 bits are scaled to 8. The first frame
  of an animation is used.

  Raises:
    UnusablePictureError: not a picture, broken, too small or too large.
  """
  with opened(source) as image:
    image.load()
    return np.array(_to_rgb(_upright(image)))


def picture_size(path: Path) -> tuple[int, int]:
  """Returns the height and width from `read_picture`, without decoding.

  They may be swapped for a PNG with EXIF data after its pixels.

  Raises:
    UnusablePictureError: not a picture, too small or too large.
  """
  with opened(path) as image:
    size = image.height, image.width
    # Pillow already swaps the size of a TIFF, and would decode a PNG to find
    # EXIF data after its pixels.
    late = image.format == 'PNG' and 'exif' not in image.info
    if image.format == 'TIFF' or late:
      return size
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in TURNED
    return size[::-1] if turned else size


@contextlib.contextmanager
def opened(source: Path | bytes) -> Iterator[Image.Image]:
  """Opens a picture file, or the bytes of one, with Pillow.

  Every picture that anybody made is opened here.

  Raises:
    UnusablePictureError: not a picture, too small or too large; or decoding it
      failed in the body.
  """
  head = b''
  try:
    with contextlib.ExitStack() as stack:
      file = (
        io.BytesIO(source)
        if isinstance(source, bytes)
        else stack.enter_context(files.open_regular(source, MAX_BYTES))
      )
      head = file.read(12)
      file.seek(0)
      # Pillow warns of what is checked here.
      stack.enter_context(warnings.catch_warnings())
      warnings.simplefilter('ignore')
      image = stack.enter_context(Image.open(file, formats=formats()))
      check_size(image.width, image.height)
      yield image
  except UnusablePictureError:
    raise
  except files.FileError as error:
    raise UnusablePictureError(error.reason) from error
  except Image.DecompressionBombError as error:
    raise UnusablePictureError(TOO_LARGE) from error
  except Image.UnidentifiedImageError as error:
    is_heif = head[4:] in _HEIF_HEADS and 'HEIF' not in formats()
    raise UnusablePictureError(
      "HEIC needs pip install 'exgan_jax[heic]'" if is_heif
      else 'not a picture'
    ) from error  # fmt: skip
  except Exception as error:  # Decoders raise almost any error.
    of_disk = isinstance(error, OSError) and error.strerror
    raise UnusablePictureError(of_disk or 'broken') from error


def check_size(width: int, height: int) -> None:
  """Raises UnusablePictureError if a picture is too small or too large."""
  if min(width, height) < MIN_SIDE:
    raise UnusablePictureError(f'too small (at least {MIN_SIDE} px a side)')
  if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
    raise UnusablePictureError(TOO_LARGE)


def _upright(image: Image.Image) -> Image.Image:
  try:
    return ImageOps.exif_transpose(image)
  except Exception:  # Broken EXIF data are ignored.
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
  if image.mode[0] in 'IF':
    gray = np.round(deep_gray(image) / np.float32(257)).astype(np.uint8)
    return Image.fromarray(gray).convert('RGB')
  if image.has_transparency_data:
    image = image.convert('RGBA')
    white = Image.new('RGBA', image.size, 'white')
    image = Image.alpha_composite(white, image)
  return image.convert('RGB')


def deep_gray(image: Image.Image) -> UInt16[np.ndarray, 'h w']:
  """Returns the levels of a picture with one channel of more than 8 bits.

  Raises:
    UnusablePictureError: they are not those of 16 bits.
  """
  levels = np.asarray(image)
  if image.mode == 'F' or levels.min() < 0 or levels.max() > 65535:
    raise UnusablePictureError('unknown range of brightness')
  return levels.astype(np.uint16)


def is_plain_jpeg(data: bytes) -> bool:
  """Returns whether any JPEG decoder gives the same as `read_picture`.

  That is an RGB picture without EXIF data, whose file has no large other parts.
  Its pixels are not decoded.
  """
  try:
    with Image.open(io.BytesIO(data), formats=['JPEG']) as image:
      plain = image.mode == 'RGB' and not image.getexif()
      return plain and len(data) <= 3 * image.width * image.height
  except Exception:
    return False


def encode_jpeg(
  image: UInt8[np.ndarray, 'h w 3'], full_color: bool = False
) -> bytes:
  """Encodes an RGB picture as JPEG.

  Args:
    image: the picture.
    full_color: store color at full resolution (4:4:4) instead of half the
      resolution (4:2:0), which most photos have anyway.
  """
  buffer = io.BytesIO()
  Image.fromarray(image).save(
    buffer, 'JPEG', quality=JPEG_QUALITY, subsampling=0 if full_color else 2
  )
  return buffer.getvalue()
