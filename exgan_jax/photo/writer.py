"""Writes photos with the metadata of the file they came from.

If the format stays JPEG or PNG, metadata is copied byte for byte; otherwise
Pillow writes what the format can hold. The result is labeled as edited by a
trained model (IPTC digital source type).
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from PIL import Image

from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.face_records.pictures import UnusablePictureError
from exgan_jax.photo import jpeg, reader, thumbnail
from exgan_jax.photo.photograph import Photograph, format_of
from exgan_jax.photo.reader import without_layout

# https://cv.iptc.org/newscodes/digitalsourcetype
_SOURCE = (
  'http://cv.iptc.org/newscodes/digitalsourcetype/'
  'compositeWithTrainedAlgorithmicMedia'
)
# What a camera may have said instead. There must not be two of them.
_OTHER_SOURCE = re.compile(
  rb'https?://cv\.iptc\.org/newscodes/digitalsourcetype/\w+'
)
_MARK = (
  '<rdf:Description xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
  ' rdf:about=""'
  ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
  f' Iptc4xmpExt:DigitalSourceType="{_SOURCE}"/>'
).encode()
_PACKET = (
  b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
  b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
  b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
  b'%s</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
_PNG_XMP = b'XML:com.adobe.xmp\0'
_TIFF_XMP = 700
_LONGEST_WEBP_SIDE = 16_383
# XMP properties about what else a file holds: gain maps, videos, depth maps.
_CLAIM = (
  rb'(?:hdrgm|HDRGainMap|GDepth|GImage):\w+'
  rb'|GCamera:(?:MotionPhoto|MicroVideo)\w*'
)
# No part runs past the next tag, so hostile packets take linear time.
_CLAIMS = re.compile(
  rb'\s(?:%b)="[^"<]*"|<(?:%b)\b[^<>]*/>|<(%b)\b[^<>]*>[^<]*</\1>'
  % (_CLAIM, _CLAIM, _CLAIM)
)
_DIRECTORIES = (b'Container:Directory', b'GContainer:Directory')
# Of a PNG file, what does not depend on how its pixels are written.
_PNG_KEPT = frozenset(
  b'iCCP sRGB gAMA cHRM cICP mDCV cLLI pHYs eXIf tEXt iTXt zTXt tIME'.split()
)
_QUALITY = 95


def save(photograph: Photograph, path: str | os.PathLike) -> None:
  """Writes a photograph in the format that the path's ending names.

  Raises:
    InputError: there is no such format, or it cannot hold this photograph.
    OSError: the file cannot be written.
  """
  format_ = format_of(path)
  data = encode(photograph, format_)
  _check_written(photograph, format_, data, path)
  files.write_bytes(path, data)


def _check_written(
  photograph: Photograph, format_: str, data: bytes, path: str | os.PathLike
) -> None:
  """Reads the file back before it replaces anything."""
  try:
    again = reader.decode(data)
  except UnusablePictureError as error:
    raise InputError(
      f'{path}: the file would not be read back ({error}); try another format'
    ) from error
  expected = photograph.pixels
  if photograph.levels > 255 and expected.shape[2] == 2:
    expected = expected[..., [0, 0, 0, 1]]  # As `_png_of_16_bits` writes it.
  same = again.pixels.shape == expected.shape
  is_lossless = format_ in ('PNG', 'TIFF') or again.encoding.get('lossless')
  if same and is_lossless:
    same = np.array_equal(again.pixels, expected)
  if not same or again.profile != photograph.profile:
    part = 'color profile' if same else 'pixels'
    raise InputError(
      f'{path}: the {part} would not be read back as written; try another'
      ' format, such as .png'
    )


def extras_note(photograph: Photograph, format_: str) -> str:
  """Says what becomes of what else the photo's file holds; '' if nothing."""
  if not photograph.extras:
    return ''
  if photograph.format == format_ == 'JPEG':
    return f'kept as it was, eyes included: {photograph.extras}'
  return f'not kept: {photograph.extras}'


def encode(photograph: Photograph, format_: str) -> bytes:
  """Returns the file as `save` would write it.

  Args:
    photograph: what is in it.
    format_: JPEG, PNG, WEBP, TIFF or HEIF.

  Raises:
    InputError: the format cannot hold this photograph.
  """
  check_holds(photograph, format_)
  same = photograph.format == format_

  def redraw(exif: bytes) -> bytes:
    return thumbnail.redraw(exif, lambda: _shown(photograph))

  metadata = dict(photograph.metadata)
  if 'exif' in metadata:
    metadata['exif'] = redraw(metadata['exif'])
  if 'xmp' in metadata and not (same and format_ == 'JPEG'):
    metadata['xmp'] = without_claims(metadata['xmp'])
  photograph = dataclasses.replace(photograph, metadata=metadata)
  options = _options(photograph, format_)
  if photograph.levels > 255:
    encoded = _png_of_16_bits(photograph)
    told = _written(np.zeros((1, 1, 1), np.uint8), format_, options)
  else:
    encoded = told = _written(photograph.stored, format_, options)
  if format_ == 'PNG':
    source = photograph.data if same else told
    packet = photograph.metadata.get('xmp')
    return _with_chunks(encoded, source, packet, redraw)
  if format_ == 'JPEG' and same:
    return jpeg.with_metadata(encoded, photograph.data, redraw, marked)
  return encoded


def _written(
  pixels: np.ndarray, format_: str, options: dict[str, Any]
) -> bytes:
  pixels = np.ascontiguousarray(pixels)
  image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
  buffer = io.BytesIO()
  try:
    image.save(buffer, format_, **options)
  except OSError:
    # Pillow has too little room for much noise in a progressive JPEG file.
    if not options.get('progressive'):
      raise
    return _written(pixels, format_, options | {'progressive': False})
  return buffer.getvalue()


def check_holds(photograph: Photograph, format_: str) -> None:
  """Checks that a format can hold a photo.

  Raises:
    InputError: it would.
  """
  if photograph.levels > 255 and format_ != 'PNG':
    raise InputError(f'{format_} has no 16 bits: end --output in .png')
  if photograph.has_alpha and format_ == 'JPEG':
    raise InputError('JPEG has no transparency: end --output in .png')
  if format_ == 'WEBP' and max(photograph.size) > _LONGEST_WEBP_SIDE:
    raise InputError('too large for WEBP: end --output in .png')
  told = photograph.metadata
  longest = max(
    len(told.get('exif', b'')), len(jpeg.XMP + marked(told.get('xmp')))
  )
  if (
    format_ == 'JPEG' != photograph.format
  ) and longest > jpeg.LONGEST_SEGMENT:
    raise InputError('too much metadata for JPEG: end --output in .png')


def without_claims(packet: bytes | str) -> bytes:
  """Removes from an XMP packet what no longer holds without the extras."""
  packet = packet.encode() if isinstance(packet, str) else packet
  for name in _DIRECTORIES:
    start, end = packet.find(b'<' + name), packet.rfind(b'</' + name + b'>')
    if 0 <= start < end:
      packet = packet[:start] + packet[end + len(name) + 3 :]
  return _CLAIMS.sub(b'', packet)


def _shown(photograph: Photograph) -> np.ndarray:
  """The picture as stored, 8 bits, for a thumbnail."""
  stored = dataclasses.replace(
    photograph, pixels=photograph.stored, orientation=1
  )
  return stored.seen()


def _options(photograph: Photograph, format_: str) -> dict[str, Any]:
  same = photograph.format == format_
  # JPEG and PNG metadata is copied byte for byte elsewhere.
  told = {} if same and format_ in ('JPEG', 'PNG') else {
    **photograph.metadata,
    'xmp': marked(photograph.metadata.get('xmp')),
    'icc_profile': photograph.profile,
  }  # fmt: skip
  if format_ == 'PNG':
    told.pop('xmp', None)
  if format_ == 'TIFF':
    told['exif'] = _exif_of_tiff(told.get('exif', b''), told.pop('xmp'))
  if format_ == 'JPEG':
    new = {'quality': _QUALITY, 'subsampling': 0}
    return told | (photograph.encoding if same else new)
  if format_ == 'WEBP':
    lossless = photograph.encoding.get('lossless', not same)
    return told | {'lossless': lossless, 'exact': True, 'quality': _QUALITY}
  if format_ == 'AVIF':
    return told | {'quality': _QUALITY, 'subsampling': '4:4:4'}
  # TIFF not compressed, or Pillow would lose EXIF data and fail over GPS ones.
  return told | ({'quality': _QUALITY} if format_ == 'HEIF' else {})


def _exif_of_tiff(data: bytes, packet: bytes) -> Image.Exif:
  exif = Image.Exif()
  try:
    exif.load(data)
    exif = without_layout(exif)
  except Exception:  # Broken data do not spoil the picture itself.
    exif = Image.Exif()
  exif[_TIFF_XMP] = packet
  return exif


def marked(packet: bytes | str | None) -> bytes:
  """An XMP packet that says of a picture what was done to it."""
  packet = packet.encode() if isinstance(packet, str) else packet or b''
  if b'rainedAlgorithmicMedia' in packet:  # Composite, or all of it.
    return packet
  packet, count = _OTHER_SOURCE.subn(_SOURCE.encode(), packet)
  if count:
    return packet
  ends = [found.start() for found in re.finditer(rb'</(\w+:)?RDF\s*>', packet)]
  if not ends:
    return _PACKET % _MARK
  return packet[: ends[-1]] + _MARK + packet[ends[-1] :]


def _with_chunks(
  encoded: bytes,
  source: bytes,
  packet: bytes | str | None,
  redraw: Callable[[bytes], bytes],
) -> bytes:
  """Copies the metadata chunks of a PNG file, with another XMP packet."""
  kept = [
    (name, redraw(body) if name == b'eXIf' else body)
    for name, body in _chunks(source)
    if name in _PNG_KEPT and not body.startswith(_PNG_XMP)
  ]
  kept.append((b'iTXt', _PNG_XMP + bytes(4) + marked(packet)))
  made = list(_chunks(encoded))
  pixels = [(n, b) for n, b in made if n in (b'PLTE', b'tRNS', b'IDAT')]
  return b'\x89PNG\r\n\x1a\n' + b''.join(
    struct.pack('>I', len(body)) + name + body
    + struct.pack('>I', zlib.crc32(name + body))
    for name, body in [made[0], *kept, *pixels, (b'IEND', b'')]
  )  # fmt: skip


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
  at = 8
  while at + 8 <= len(data):
    (length,) = struct.unpack('>I', data[at : at + 4])
    yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
    at += 12 + length


def _png_of_16_bits(photograph: Photograph) -> bytes:
  pixels = np.ascontiguousarray(photograph.stored)
  if pixels.shape[2] == 2:  # OpenCV has no gray with alpha.
    pixels = pixels[..., [0, 0, 0, 1]]
  if pixels.shape[2] > 2:
    order = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    pixels = cv2.cvtColor(pixels, order)
  done, encoded = cv2.imencode('.png', pixels)
  if not done:
    raise InputError('cannot encode the photograph')
  return encoded.tobytes()
