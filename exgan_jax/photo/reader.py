"""Reads photos of unknown origin without losing what their files hold."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin, TiffImagePlugin

from exgan_jax.errors import InputError
from exgan_jax.face_records import pictures
from exgan_jax.face_records.pictures import UnusablePictureError
from exgan_jax.photo import jpeg
from exgan_jax.photo.photograph import (
  UPRIGHT,
  Photograph,
  from_array,
  heif_is_there,
  upright,
)

MAX_BYTES = 500_000_000
_HEIF_HEADS = (b'ftypheic', b'ftypheix', b'ftypmif1', b'ftypheim', b'ftypheis')
# What Pillow shows as other modes than those that a photograph is kept in.
_CONVERTED = {
  '1': 'L', 'P': 'RGB', 'PA': 'RGBA', 'RGBX': 'RGB', 'RGBa': 'RGBA',
  'La': 'LA', 'YCbCr': 'RGB',
}  # fmt: skip
_KEPT = ('L', 'LA', 'RGB', 'RGBA')
# What TIFF files tell among the EXIF data: how their pixels lie in the file,
# and what has its own place elsewhere (XMP, ICC).
_LAYOUT = frozenset(
  (*range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 301, 317,
   *range(320, 348), *range(512, 533), 700, 34675)
)  # fmt: skip


def read(path: str | os.PathLike) -> Photograph:
  """Reads a photograph.

  Raises:
    InputError: there is no such file, it is no picture, or one that could not
      be written again without a loss.
  """
  try:
    with open(path, 'rb') as file:
      data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
      raise UnusablePictureError('too large')
    return decode(data)
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror}') from error
  except UnusablePictureError as error:
    raise InputError(f'{path}: {error}') from error


def load(source: str | os.PathLike | np.ndarray | Photograph) -> Photograph:
  """Returns what a path, an array or a photograph stands for.

  Raises:
    InputError: as `read` and `from_array` do.
  """
  if isinstance(source, Photograph):
    return source
  if isinstance(source, str | os.PathLike):
    return read(source)
  return from_array(source)


def decode(data: bytes) -> Photograph:
  """Decodes the bytes of a file.

  Raises:
    UnusablePictureError: not a picture, broken, or it would lose something.
  """
  formats = [*pictures.FORMATS, 'AVIF']
  if heif_is_there():
    formats.append('HEIF')
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Pillow warns of what is checked here.
      with Image.open(io.BytesIO(data), formats=formats) as image:
        pictures.check_size(image.width, image.height)
        return _of_image(image, data)
  except UnusablePictureError:
    raise
  except Image.UnidentifiedImageError as error:
    is_heif = data[4:12] in _HEIF_HEADS and 'HEIF' not in formats
    raise UnusablePictureError(
      "HEIC needs pip install 'exgan_jax[heic]'" if is_heif
      else 'not a picture'
    ) from error  # fmt: skip
  except Image.DecompressionBombError as error:
    raise UnusablePictureError('too large') from error
  except Exception as error:  # Of broken files decoders raise nearly any.
    raise UnusablePictureError('broken') from error


def _of_image(image: Image.Image, data: bytes) -> Photograph:
  format_ = 'JPEG' if image.format == 'MPO' else image.format or ''
  # The other pictures of a JPEG file are previews and depths of the first.
  if format_ not in ('JPEG', 'HEIF') and getattr(image, 'n_frames', 1) > 1:
    raise UnusablePictureError('holds several pictures')
  image.load()
  orientation, exif = 1, image.info.get('exif')
  with contextlib.suppress(Exception):  # Broken EXIF data spoil no picture.
    tags = image.getexif()
    orientation = tags.get(ExifTags.Base.Orientation, 1)
    if format_ == 'TIFF':
      tags = without_layout(tags)
    if tags and not exif:
      exif = tags.tobytes()
  if orientation not in UPRIGHT or format_ == 'HEIF':
    orientation = 1  # Pillow's plug-in turns them itself.
  dpi = image.info.get('dpi', ())
  metadata = {
    # WebP files have no such head, and JPEG files need one.
    'exif': exif and jpeg.EXIF + exif.removeprefix(jpeg.EXIF),
    'xmp': image.info.get('xmp'),
    # Of TIFF files that tell none it is 1, of broken ones not a number.
    'dpi': dpi if all(1 < value < 65_535 for value in dpi) else None,
  }
  return Photograph(
    upright(_pixels(image, data), orientation),
    orientation,
    format_,
    data,
    image.info.get('icc_profile'),
    {name: value for name, value in metadata.items() if value},
    _encoding(image, format_, data),
    _extras(image, format_, data),
  )


def without_layout(exif: Image.Exif) -> Image.Exif:
  """Removes EXIF tags that describe the pixel layout of a TIFF file."""
  for tag, value in list(exif.items()):
    if tag in _LAYOUT:
      del exif[tag]
    elif isinstance(value, str):  # Of these Pillow would keep only ASCII.
      exif[tag] = value.encode('latin-1', 'replace')
  return exif


def _pixels(image: Image.Image, data: bytes) -> np.ndarray:
  # Pillow has no color of 16 bits. Byte 24 of a PNG file is its bit depth.
  if image.format == 'PNG' and data[24] == 16 and image.mode != 'I;16':
    return _deep(data)
  if image.format == 'HEIF' and image.info.get('bit_depth', 8) > 8:
    import pillow_heif

    deep = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
    return np.asarray(deep)
  if image.format == 'AVIF' and _is_deep_avif(data):
    raise UnusablePictureError(
      'AVIF with more than 8 bits per color: convert it to PNG'
    )
  is_deep = (
    isinstance(image, TiffImagePlugin.TiffImageFile)
    and max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, [8])) > 8
  )
  if is_deep and not image.mode.startswith('I;16'):
    raise UnusablePictureError(
      'TIFF with more than 8 bits per color: convert it to PNG'
    )
  if image.mode.startswith('I;16'):
    return np.array(image).astype(np.uint16)[..., None]
  if image.has_transparency_data and image.mode not in ('LA', 'RGBA'):
    image = image.convert('LA' if image.mode == 'L' else 'RGBA')
  image = image.convert(_CONVERTED.get(image.mode, image.mode))
  if image.mode not in _KEPT:
    raise UnusablePictureError(f'colors of kind {image.mode}: use RGB')
  pixels = np.array(image)
  return pixels[..., None] if pixels.ndim == 2 else pixels


def _deep(data: bytes) -> np.ndarray:
  """Decodes 16 bits per color."""
  pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
  if pixels is None:
    raise UnusablePictureError('broken')
  order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}[pixels.shape[2]]
  return cv2.cvtColor(pixels, order)


def _is_deep_avif(data: bytes) -> bool:
  # AV1CodecConfigurationRecord: the third byte holds high_bitdepth.
  at = data.find(b'av1C') + 4
  return at > 3 and len(data) > at + 2 and bool(data[at + 2] & 0x40)


def _extras(image: Image.Image, format_: str, data: bytes) -> str:
  """What the file holds besides the picture and its metadata, in words."""
  found = []
  if format_ == 'JPEG' and data[jpeg.end_of_picture(data) :].strip(b'\0'):
    size = len(data) - jpeg.end_of_picture(data)
    found.append(
      f'{size / 1e6:.2f} MB after the picture (a video, gain map, depth map or'
      ' previews)'
    )
  if format_ == 'HEIF':
    if (count := getattr(image, 'n_frames', 1) - 1) > 0:
      found.append(f'{count} more picture(s)')
    for name, text in (('depth_images', 'a depth map'), ('aux', 'a gain map')):
      if image.info.get(name):
        found.append(text)
  return ' and '.join(found)


def _encoding(image: Image.Image, format_: str, data: bytes) -> dict[str, Any]:
  """So that what is not touched loses next to nothing."""
  if isinstance(image, JpegImagePlugin.JpegImageFile):
    sampling = JpegImagePlugin.get_sampling(image)
    return {
      'qtables': image.quantization,
      'progressive': bool(image.info.get('progressive')),
      # Pillow cannot write the rare ones: then colors stay whole.
      'subsampling': max(sampling, 0),
    }
  if format_ == 'WEBP':
    # Anywhere, for a long profile comes first. Chance does no harm.
    return {'lossless': b'VP8L' in data}
  return {}
