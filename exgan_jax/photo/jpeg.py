"""The parts of a JPEG file that are not the picture, copied byte for byte.

Pillow decodes and encodes the picture. Metadata (EXIF, XMP, ICC profile, maker
notes) and what cameras append to the file (gain maps, videos, depth maps,
previews) are copied here, because Pillow would drop or rewrite them.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Iterator

EXIF = b'Exif\0\0'
XMP = b'http://ns.adobe.com/xap/1.0/\0'
LONGEST_SEGMENT = 65_533
_MULTI_PICTURE = b'MPF\0'  # CIPA DC-007.
_MP_ENTRIES = 0xB002
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_MARKER = re.compile(rb'\xff[^\x00\xff]')
# In the compressed data, every marker but restarts and stuffed bytes.
_NEXT_MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')


def segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
  """Yields marker, position and body of the segments before the picture.

  Junk between segments is skipped as Pillow skips it.
  """
  at = 2
  while (found := _MARKER.search(data, at)) and found.end() + 2 <= len(data):
    at = found.start()
    marker, length = struct.unpack_from('>xBH', data, at)
    if marker in (_EOI, _SOS) or length < 2:
      return
    yield marker, at, data[at + 4 : at + 2 + length]
    at += 2 + length


def end_of_picture(data: bytes) -> int:
  """Returns where the first picture of a file ends.

  Files of cameras go on after that: with the gain map of an Ultra HDR photo,
  the video of a motion photo, previews, or a depth map.
  """
  at = 2
  for _, at, body in segments(data):
    at += 4 + len(body)
  while found := _NEXT_MARKER.search(data, at):
    if data[found.start() + 1] == _EOI:
      return found.end()
    if found.end() + 2 > len(data):
      break
    (length,) = struct.unpack('>H', data[found.end() : found.end() + 2])
    at = found.end() + length
  return len(data)


def with_metadata(
  encoded: bytes,
  source: bytes,
  change: Callable[[bytes], bytes],
  mark: Callable[[bytes | None], bytes],
) -> bytes:
  """Returns a new picture in the file that it came from.

  Args:
    encoded: a JPEG file with the new picture.
    source: the file to take everything else from.
    change: called with each EXIF segment; returns what to write.
    mark: called with the XMP packet, or None; returns what to write.
  """
  kept, packet = [], None
  for marker, _, body in segments(source):
    is_kept = 0xE0 <= marker <= 0xEF or marker == 0xFE
    # Adobe's segment says how the old picture stored its colors.
    if not is_kept or (marker == 0xEE and body.startswith(b'Adobe')):
      continue
    if marker == 0xE1 and body.startswith(XMP):
      packet = body[len(XMP) :]
      continue
    if marker == 0xE1 and body.startswith(EXIF):
      body = change(body)
    kept.append((marker, body))
  if not kept:
    marker, _, body = next(segments(encoded))
    kept = [(marker, body)]
  xmp = XMP + mark(packet)
  if packet is not None and len(xmp) > LONGEST_SEGMENT:
    xmp = XMP + packet
  # Some readers expect EXIF first.
  heads = (body.startswith((b'JFIF', b'JFXX', b'Exif')) for _, body in kept)
  kept.insert(sum(itertools.takewhile(bool, heads)), (0xE1, xmp))
  head = b'\xff\xd8' + b''.join(
    struct.pack('>BBH', 0xFF, marker, len(body) + 2) + body
    for marker, body in kept
  )
  start = 2
  for marker, at, body in segments(encoded):
    if not 0xE0 <= marker <= 0xEF:
      break
    start = at + 4 + len(body)
  picture = head + encoded[start : end_of_picture(encoded)]
  end = end_of_picture(source)
  return _moved(picture, source, end) + source[end:]


def _moved(picture: bytes, source: bytes, end: int) -> bytes:
  """Corrects the positions that the first picture keeps of those after it."""
  here, there = (_multi_picture(data) for data in (picture, source))
  if here is None or there is None:
    return picture
  (base, entries, order), old_base = here, there[0]
  found = bytearray(picture)
  for i, at in enumerate(entries):
    size, offset = struct.unpack_from(order + 'II', picture, at + 4)
    if i == 0:
      size = len(picture)
    elif offset and old_base + offset >= end:
      offset += old_base - base + len(picture) - end
    struct.pack_into(order + 'II', found, at + 4, size, offset)
  return bytes(found)


def _multi_picture(data: bytes) -> tuple[int, list[int], str] | None:
  """Where the index of pictures is: its base, its entries and byte order."""
  for marker, at, body in segments(data):
    if marker != 0xE2 or not body.startswith(_MULTI_PICTURE):
      continue
    base = at + 4 + len(_MULTI_PICTURE)
    order = '<' if data[base : base + 2] == b'II' else '>'
    limit = at + 4 + len(body)
    try:
      (ifd,) = struct.unpack_from(order + 'I', data, base + 4)
      (count,) = struct.unpack_from(order + 'H', data, base + ifd)
      for field in range(base + ifd + 2, base + ifd + 2 + 12 * count, 12):
        tag, _, size, place = struct.unpack_from(order + 'HHII', data, field)
        entries = range(base + place, base + place + size, 16)
        if tag == _MP_ENTRIES and base + place + size <= limit:
          return base, list(entries), order
    except struct.error:
      return None
  return None
