"""The pictures that records hold, as JPEG or as plain pixels, and their points.

Plain pixels are a BMP file of 24 bits, the first row first: any reader of
pictures knows it, and here it is a header and an array.
"""

import struct

import cv2
import numpy as np
from jaxtyping import UInt8

from exgan_jax.errors import InputError

# Signature, bytes of the file, two unused, offset of the pixels; bytes of this
# second part, width, height, planes, bits, compression, and what is not used.
_HEADER = struct.Struct('<2sIHHIIiiHHIIiiII')
_SECOND_PART = 40
# Rows take a multiple of four bytes, so that sides are multiples of four here.
_SIDES = 4
_LARGEST_SIDE = 2**14


def decode(
  picture: bytes,
  resolution: int,
  out: UInt8[np.ndarray, 'r r 3'] | None = None,
) -> tuple[UInt8[np.ndarray, 'r r 3'], float]:
  """Decodes a square picture at a resolution.

  A JPEG at least twice as large is decoded at a half, a quarter or an eighth
  of its size, which costs a fraction of the time.

  Args:
    picture: a JPEG, or what `encode_pixels` made.
    resolution: side of the result in pixels.
    out: array to write to, contiguous; a new one by default.

  Returns:
    uint8 [resolution, resolution, 3] in RGB, and the stored side in pixels.

  Raises:
    InputError: it is not such a picture.
  """
  stored = side_of(picture)
  image = _pixels(picture, stored)
  if image is None:
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
  """Side of a square picture in pixels, from its header.

  Raises:
    InputError: it is not a square picture of a kind that `decode` knows.
  """
  if is_pixels(picture):
    return _side_of_pixels(picture)
  height, width = _jpeg_shape(picture)
  if height != width:
    raise InputError(f'a record holds a picture of {width} x {height} pixels')
  return height


def is_pixels(picture: bytes) -> bool:
  """Whether a picture claims to be plain pixels."""
  return picture[:2] == b'BM'


def encode_pixels(image: UInt8[np.ndarray, 's s 3']) -> bytes:
  """Writes an RGB picture, whose side is a multiple of 4, as plain pixels."""
  side = image.shape[0]
  if image.shape != (side, side, 3) or side % _SIDES:
    raise ValueError(f'cannot store pixels of shape {image.shape}')
  # A negative height says that the first row comes first.
  header = _HEADER.pack(
    b'BM', _HEADER.size + image.size, 0, 0, _HEADER.size,
    _SECOND_PART, side, -side, 1, 24, 0, image.size, 0, 0, 0, 0,
  )  # fmt: skip
  return header + cv2.cvtColor(image, cv2.COLOR_RGB2BGR).tobytes()


def scale_points(
  points: np.ndarray, scale: np.ndarray | np.float32
) -> np.ndarray:
  """Scales pixel coordinates along with their picture.

  Args:
    points: float32, (x, y) counted from the centre of the first pixel.
    scale: float32, a number or what broadcasts against the points.
  """
  # A pixel's index is the place of its centre: half a pixel from its edge.
  half = np.float32(0.5)
  return (points + half) * scale - half


def scale_of(resolution: int, side: float) -> np.float32:
  """What a picture's coordinates are multiplied by at a resolution."""
  return np.float32(resolution / side)


def _side_of_pixels(picture: bytes) -> int:
  if len(picture) < _HEADER.size:
    raise InputError('a record holds a picture that is cut off')
  found = _HEADER.unpack_from(picture)
  start, second, width, height, planes, bits, compression = (
    *found[4:8],
    *found[8:11],
  )
  plain = (_HEADER.size, _SECOND_PART, 1, 24, 0)
  if (start, second, planes, bits, compression) != plain:
    raise InputError('a record holds a BMP of a kind that is not read')
  if not 0 < width <= _LARGEST_SIDE or width != -height or width % _SIDES:
    raise InputError(f'a record holds a BMP of {width} x {height} pixels')
  if len(picture) != _HEADER.size + 3 * width * width:
    raise InputError('a record holds a picture of another size than it says')
  return width


def _pixels(picture: bytes, side: int) -> UInt8[np.ndarray, 's s 3'] | None:
  """The pixels in BGR, not copied; None for a JPEG."""
  if not is_pixels(picture):
    return None
  pixels = np.frombuffer(picture, np.uint8, offset=_HEADER.size)
  return pixels.reshape(side, side, 3)


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
  except cv2.error:  # It claims to be huge, for one.
    image = None
  if image is None or image.shape[0] != image.shape[1]:
    raise InputError('a record holds a picture that cannot be decoded')
  return image


def _jpeg_shape(jpeg: bytes) -> tuple[int, int]:
  """Height and width of a JPEG from its frame header, without decoding it."""
  at = 2
  while at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
    marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], 'big')
    is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
    if is_frame:
      height, width = jpeg[at + 5 : at + 7], jpeg[at + 7 : at + 9]
      return int.from_bytes(height, 'big'), int.from_bytes(width, 'big')
    at += 2 + length
  raise InputError('a record holds a picture that is not a JPEG')
