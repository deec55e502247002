"""Encodes and decodes the pictures in records, and scales their points.

Pictures are JPEG files or uncompressed pixels. The latter are 24-bit BMP files
with the first row first, so that a picture is a header and an array.
"""

import struct

import cv2
import numpy as np
from jaxtyping import UInt8

from exgan_jax.errors import InputError

_HEADER = struct.Struct('<2sIHHIIiiHHIIiiII')
# Rows are padded to a multiple of four bytes, which is avoided here.
_SIDE_MULTIPLE = 4
_LARGEST_SIDE = 2**14


def decode(
  picture: bytes,
  resolution: int,
  out: UInt8[np.ndarray, 'r r 3'] | None = None,
) -> tuple[UInt8[np.ndarray, 'r r 3'], float]:
  """Decodes a square picture at a resolution.

  A JPEG at least twice as large is decoded at 1/2, 1/4 or 1/8 of its size,
  which is much faster.

  Args:
    picture: a JPEG, or bytes from `encode_pixels`.
    resolution: side of the result in pixels.
    out: contiguous array for the result; a new one by default.

  Returns:
    uint8 [resolution, resolution, 3] in RGB, and the stored side in pixels.

  Raises:
    InputError: it is not such a picture.
  """
  stored = side_of(picture)
  if is_pixels(picture):
    pixels = np.frombuffer(picture, np.uint8, offset=_HEADER.size)
    image: np.ndarray = pixels.reshape(stored, stored, 3)
  else:
    image = _decode_jpeg(picture, stored, resolution)
  if image.shape[0] != resolution:
    shrinks = image.shape[0] > resolution
    image = cv2.resize(
      image,
      (resolution, resolution),
      interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC,
    )
  return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=out), float(stored)


def side_of(picture: bytes) -> int:
  """Returns the side of a square picture in pixels, from its header.

  Raises:
    InputError: `decode` cannot decode it.
  """
  if is_pixels(picture):
    side = int.from_bytes(picture[18:22], 'little')
    if (
      not 0 < side <= _LARGEST_SIDE
      or picture[: _HEADER.size] != _bmp_header(side)
      or len(picture) != _HEADER.size + 3 * side * side
    ):
      raise InputError('a record has a damaged BMP, or one of another format')
    return side
  height, width = _jpeg_shape(picture)
  if height != width:
    raise InputError(f'a record has a picture of {width} x {height} pixels')
  return height


def is_pixels(picture: bytes) -> bool:
  """Returns whether a picture is uncompressed, by its signature."""
  return picture[:2] == b'BM'


def encode_pixels(image: UInt8[np.ndarray, 's s 3']) -> bytes:
  """Encodes an RGB picture without compression; its side is a multiple of 4."""
  side = image.shape[0]
  if image.shape != (side, side, 3) or side % _SIDE_MULTIPLE:
    raise ValueError(f'cannot store pixels of shape {image.shape}')
  return _bmp_header(side) + cv2.cvtColor(image, cv2.COLOR_RGB2BGR).tobytes()


def _bmp_header(side: int) -> bytes:
  size = 3 * side * side
  # A negative height means that the first row comes first.
  return _HEADER.pack(
    *(b'BM', _HEADER.size + size, 0, 0, _HEADER.size),
    *(40, side, -side, 1, 24, 0, size, 0, 0, 0, 0),
  )


def scale_points(
  points: np.ndarray, scale: np.ndarray | np.float32
) -> np.ndarray:
  """Scales coordinates along with their picture.

  Args:
    points: float32, (x, y) in pixels; (0, 0) is the center of the first pixel.
    scale: float32, broadcasts against the points.
  """
  half = np.float32(0.5)
  return (points + half) * scale - half


def scale_of(resolution: int, side: float) -> np.float32:
  """Returns the factor for coordinates of a picture at a resolution."""
  return np.float32(resolution / side)


def _decode_jpeg(
  jpeg: bytes, stored: int, resolution: int
) -> UInt8[np.ndarray, 's s 3']:
  flags = cv2.IMREAD_COLOR
  for factor, reduced in (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
  ):
    if stored >= factor * resolution:
      flags = reduced
      break
  try:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags)
  except cv2.error:  # For example, its header claims a huge size.
    image = None
  if image is None or image.shape[0] != image.shape[1]:
    raise InputError('a record has a picture that cannot be decoded')
  return image


def _jpeg_shape(jpeg: bytes) -> tuple[int, int]:
  """Returns height and width from the frame header of a JPEG."""
  at = 2
  while at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
    marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], 'big')
    is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
    if is_frame:
      height, width = jpeg[at + 5 : at + 7], jpeg[at + 7 : at + 9]
      return int.from_bytes(height, 'big'), int.from_bytes(width, 'big')
    at += 2 + length
  raise InputError('a record has a picture that is not a JPEG')
