"""Reads photos of unknown origin without losing what their files hold."""

from __future__ import annotations

import contextlib
import os
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
  upright,
)

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
    return decode(pictures.load(path))
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
  with pictures.opened(data) as image:
    return _of_image(image, data)


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
  if image.mode[0] in 'IF':
    return pictures.deep_gray(image)[..., None]
  if (bits := _bits_per_color(image, data)) > 8:
    return _deep(image, data, bits)
  if image.has_transparency_data and image.mode not in ('LA', 'RGBA'):
    image = image.convert('LA' if image.mode == 'L' else 'RGBA')
  image = image.convert(_CONVERTED.get(image.mode, image.mode))
  if image.mode not in _KEPT:
    raise UnusablePictureError(f'colors of kind {image.mode}: use RGB')
  pixels = np.array(image)
  return pixels[..., None] if pixels.ndim == 2 else pixels


def _bits_per_color(image: Image.Image, data: bytes) -> int:
  if image.format == 'PNG':
    return data[24]
  if image.format == 'HEIF':
    return image.info.get('bit_depth', 8)
  if isinstance(image, TiffImagePlugin.TiffImageFile):
    return max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, [8]))
  at = data.find(b'av1C') + 4
  if image.format == 'AVIF' and 3 < at < len(data) - 2:
    # AV1CodecConfigurationRecord: high_bitdepth and twelve_bit.
    return {0x40: 10, 0x60: 12}.get(data[at + 2] & 0x60, 8)
  return 8


def _deep(image: Image.Image, data: bytes, bits: int) -> np.ndarray:
  """Decodes color of more than 8 bits, which Pillow reduces to 8, to 16."""
  if image.format == 'HEIF':
    import pillow_heif

    return np.asarray(pillow_heif.open_heif(data, convert_hdr_to_8bit=False))
  pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
  if pixels is None:
    raise UnusablePictureError('broken')
  order = {(3, 3): cv2.COLOR_BGR2RGB, (3, 4): cv2.COLOR_BGRA2RGBA}.get(
    (pixels.ndim, pixels.shape[-1])
  )
  if order is not None:
    pixels = cv2.cvtColor(pixels, order)
    if image.format == 'AVIF':
      highest = 2**bits - 1
      pixels = np.round(pixels * np.float32(65535 / highest)).astype(np.uint16)
  # Both decoders must see the same picture, turned the same way.
  seen = np.asarray(image)[::4, ::4]
  found = pixels[::4, ::4]
  if found.shape != seen.shape or pixels.dtype != np.uint16 or (
    np.abs(found / np.float32(257) - seen).mean() > 2
  ):  # fmt: skip
    raise UnusablePictureError(
      f'{image.format} of a rare kind with more than 8 bits per color:'
      ' convert it to PNG'
    )
  return pixels


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
