"""The thumbnail inside EXIF data, which would still show the closed eyes."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_EXIF = b'Exif\0\0'
_OFFSET, _LENGTH = 0x0201, 0x0202
_QUALITIES = range(90, 9, -10)


def redraw(
  exif: bytes, picture: Callable[[], UInt8[np.ndarray, 'h w 3']]
) -> bytes:
  """Redraws the thumbnail in EXIF data.

  Everything else stays byte for byte: the new thumbnail takes the place of the
  old one. A thumbnail that cannot be replaced is removed.

  Args:
    exif: the data, with or without its `Exif` header.
    picture: returns the picture as it is stored in the file; only called if
      there is a thumbnail.
  """
  head = _EXIF if exif.startswith(_EXIF) else b''
  tiff = bytearray(exif[len(head) :])
  try:
    order = {b'II': '<', b'MM': '>'}[bytes(tiff[:2])]
    (first,) = struct.unpack_from(order + 'I', tiff, 4)
    (count,) = struct.unpack_from(order + 'H', tiff, first)
    link = first + 2 + 12 * count
    (second,) = struct.unpack_from(order + 'I', tiff, link)
  except (KeyError, struct.error):
    return exif
  if not second:
    return exif
  try:
    offset, length, field = _place(tiff, second, order)
    new = _drawn(bytes(tiff[offset : offset + length]), picture())
    tiff[offset : offset + length] = new.ljust(length, b'\0')
    struct.pack_into(order + 'I', tiff, field, len(new))
  except (KeyError, struct.error, OSError, ValueError):
    struct.pack_into(order + 'I', tiff, link, 0)
  return head + bytes(tiff)


def _place(tiff: bytearray, ifd: int, order: str) -> tuple[int, int, int]:
  """Offset and length of the thumbnail, and where the length is stored."""
  fields = {}
  (count,) = struct.unpack_from(order + 'H', tiff, ifd)
  for at in range(ifd + 2, ifd + 2 + 12 * count, 12):
    tag, kind, _, value = struct.unpack_from(order + 'HHII', tiff, at)
    if kind == 4:  # A 32-bit integer.
      fields[tag] = value, at + 8
  (offset, _), (length, field) = fields[_OFFSET], fields[_LENGTH]
  if not 0 < offset < offset + length <= len(tiff):
    raise ValueError('the thumbnail is outside the EXIF data')
  return offset, length, field


def _drawn(old: bytes, image: np.ndarray) -> bytes:
  """A thumbnail of the same size that needs no more bytes."""
  with Image.open(io.BytesIO(old), formats=['JPEG']) as thumbnail:
    size = thumbnail.size
  canvas = Image.new('RGB', size)
  small = Image.fromarray(image)
  small.thumbnail(size, Image.Resampling.LANCZOS, reducing_gap=3)
  # Cameras put black bars around pictures of other proportions.
  canvas.paste(
    small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2)
  )
  for quality in _QUALITIES:
    buffer = io.BytesIO()
    canvas.save(buffer, 'JPEG', quality=quality)
    if buffer.tell() <= len(old):
      return buffer.getvalue()
  raise ValueError('the thumbnail has too little room')
