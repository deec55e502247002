"""Picture files of unknown origin: read to RGB with care, written as JPEG."""

import io
import os
import warnings
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps

# Decoders for what people keep photographs in. Pillow has more of them, some
# of which start other programs.
FORMATS = ('JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'PPM')
# A file of a few kilobytes may claim any number of pixels.
MAX_PIXELS = 80_000_000
# OpenCV cannot turn a picture with a longer side.
MAX_SIDE = 32_000
MIN_SIDE = 32

JPEG_QUALITY = 95

# Orientations of EXIF whose pictures lie on their side.
TURNED = (5, 6, 7, 8)


class UnusablePictureError(ValueError):
  """The file is no picture that can be used; the message says why."""


def read_picture(
  path: str | os.PathLike | BinaryIO,
) -> UInt8[np.ndarray, 'h w 3']:
  """Reads a picture (a path or an open file) as RGB, upright by its EXIF data.

  Transparent parts become white, and 16 bits are scaled to 8. Of a moving
  picture it is the first frame.

  Raises:
    UnusablePictureError: not a picture, broken, too small or too large.
  """
  try:
    # Pillow only warns of what is checked here.
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      with Image.open(path, formats=FORMATS) as image:
        check_size(image.width, image.height)
        image.load()
        return np.array(_to_rgb(_upright(image)))
  except UnusablePictureError:
    raise
  except Image.DecompressionBombError as error:
    raise UnusablePictureError('too large') from error
  except Image.UnidentifiedImageError as error:
    raise UnusablePictureError('not a picture') from error
  except PermissionError as error:
    raise UnusablePictureError('cannot be read') from error
  except Exception as error:  # Of broken files decoders raise nearly any.
    raise UnusablePictureError('broken') from error


def picture_size(path: str | os.PathLike) -> tuple[int, int]:
  """Height and width that `read_picture` would give, without decoding.

  Only of a PNG whose EXIF data come after its pixels they may be swapped.

  Raises:
    UnusablePictureError: not a picture, too small or too large.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      with Image.open(path, formats=FORMATS) as image:
        check_size(image.width, image.height)
        size = image.height, image.width
        # Of a TIFF it is upright already. Of a PNG the EXIF data may come last,
        # and Pillow would decode all of it.
        late = image.format == 'PNG' and 'exif' not in image.info
        if image.format == 'TIFF' or late:
          return size
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in TURNED
        return size[::-1] if turned else size
  except UnusablePictureError:
    raise
  except Exception as error:  # Of broken files decoders raise nearly any.
    raise UnusablePictureError('not a picture') from error


def check_size(width: int, height: int) -> None:
  if min(width, height) < MIN_SIDE:
    raise UnusablePictureError('too small')
  if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
    raise UnusablePictureError('too large')


def _upright(image: Image.Image) -> Image.Image:
  try:
    return ImageOps.exif_transpose(image)
  except Exception:  # Broken EXIF data do not spoil the picture itself.
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
  """Returns whether any JPEG decoder shows what `read_picture` would.

  That is an RGB picture without EXIF rotation, and without much else in its
  file. Its pixels are not decoded.
  """
  try:
    with Image.open(io.BytesIO(data), formats=['JPEG']) as image:
      plain = image.mode == 'RGB' and not image.getexif()
      return plain and len(data) <= 3 * image.width * image.height
  except Exception:
    return False


def encode_jpeg(
  image: UInt8[np.ndarray, 'h w 3'], full_colour: bool = False
) -> bytes:
  """Encodes an RGB picture as JPEG.

  Args:
    image: the picture.
    full_colour: keep colour at full resolution (4:4:4). Otherwise it has half
      of it (4:2:0), as photographs mostly have in the first place.
  """
  buffer = io.BytesIO()
  Image.fromarray(image).save(
    buffer, 'JPEG', quality=JPEG_QUALITY, subsampling=0 if full_colour else 2
  )
  return buffer.getvalue()
