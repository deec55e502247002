"""Reads picture files from untrusted sources to RGB, and writes JPEG."""

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps

# Pillow has more decoders, and some of them start other programs.
FORMATS = ('JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'PPM')
# A small file may decode to any number of pixels.
MAX_PIXELS = 80_000_000
# The limit of `cv2.warpAffine`.
MAX_SIDE = 32_000
MIN_SIDE = 32

JPEG_QUALITY = 95

# EXIF orientations that swap width and height.
TURNED = (5, 6, 7, 8)


class UnusablePictureError(ValueError):
  """A picture cannot be used; the message says why."""


def read_picture(
  path: str | os.PathLike | BinaryIO,
) -> UInt8[np.ndarray, 'h w 3']:
  """Reads a path or an open file as RGB, rotated by its EXIF data.

  Transparent parts become white, and 16 bits are scaled to 8. The first frame
  of an animation is used.

  Raises:
    UnusablePictureError: not a picture, broken, too small or too large.
  """
  with _open(path) as image:
    image.load()
    return np.array(_to_rgb(_upright(image)))


def picture_size(path: str | os.PathLike) -> tuple[int, int]:
  """Returns the height and width from `read_picture`, without decoding.

  They may be swapped for a PNG with EXIF data after its pixels.

  Raises:
    UnusablePictureError: not a picture, too small or too large.
  """
  with _open(path) as image:
    size = image.height, image.width
    # Pillow already swaps the size of a TIFF, and would decode a PNG to find
    # EXIF data after its pixels.
    late = image.format == 'PNG' and 'exif' not in image.info
    if image.format == 'TIFF' or late:
      return size
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in TURNED
    return size[::-1] if turned else size


@contextlib.contextmanager
def _open(path: str | os.PathLike | BinaryIO) -> Iterator[Image.Image]:
  """Opens a picture, and explains errors in the body."""
  try:
    # Pillow warns of large sizes, which are checked here.
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      with Image.open(path, formats=FORMATS) as image:
        check_size(image.width, image.height)
        yield image
  except UnusablePictureError:
    raise
  except Image.DecompressionBombError as error:
    raise UnusablePictureError('too large') from error
  except Image.UnidentifiedImageError as error:
    raise UnusablePictureError('not a picture') from error
  except PermissionError as error:
    raise UnusablePictureError('cannot be read') from error
  except Exception as error:  # Decoders raise almost any error.
    raise UnusablePictureError('broken') from error


def check_size(width: int, height: int) -> None:
  """Raises UnusablePictureError if a picture is too small or too large."""
  if min(width, height) < MIN_SIDE:
    raise UnusablePictureError('too small')
  if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
    raise UnusablePictureError('too large')


def _upright(image: Image.Image) -> Image.Image:
  try:
    return ImageOps.exif_transpose(image)
  except Exception:  # Broken EXIF data are ignored.
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
  if image.mode.startswith('I'):  # 16 bits in one channel.
    levels = np.asarray(image).astype(np.int64)
    if levels.min() < 0 or levels.max() > 65535:
      raise UnusablePictureError('unknown range of brightness')
    return Image.fromarray(np.round(levels / 257).astype(np.uint8)).convert(
      'RGB'
    )
  if image.mode == 'F':
    raise UnusablePictureError('unknown range of brightness')
  if image.has_transparency_data:
    image = image.convert('RGBA')
    white = Image.new('RGBA', image.size, 'white')
    image = Image.alpha_composite(white, image)
  return image.convert('RGB')


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
