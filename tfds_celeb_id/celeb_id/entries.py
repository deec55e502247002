"""From a listed picture to an entry: one call, in any process."""

import io

import cv2
import numpy as np

from exgan_jax.face_records import alignment, pictures
from tfds_celeb_id import records
from tfds_celeb_id.celeb_id import listing, sources


def make_entry(
  picture: listing.Aligned | listing.Raw,
  source: sources.Folder | sources.Archive,
  size: int,
) -> records.Entry | records.Rejected:
  """Reads a picture, aligns it if it is not yet, and encodes it.

  Args:
    picture: what the listing says of it.
    source: where it is.
    size: side of the aligned picture.
  """
  try:
    data = source.read(picture.filename)
    if isinstance(picture, listing.Aligned):
      return _aligned(picture, data, size)
    return _raw(picture, data, size)
  except pictures.UnusablePictureError as error:
    return records.Rejected(picture.identity, picture.filename, str(error))


def _aligned(picture: listing.Aligned, data: bytes, size: int) -> records.Entry:
  image = pictures.read_picture(io.BytesIO(data))
  height, width = image.shape[:2]
  if height != width:
    raise pictures.UnusablePictureError('not square, so not aligned')
  boxes = np.array(picture.boxes, np.float32)
  if boxes.max() > width:
    raise pictures.UnusablePictureError('an eye box larger than the picture')
  eyes = np.array(picture.eyes, np.float32)
  _check_eyes(eyes, width)
  if width != size:
    # The pictures' edges stay in place, half a pixel off the first centre.
    scale = size / width
    eyes = (eyes + 0.5) * np.float32(scale) - np.float32(0.5)
    boxes = boxes * np.float32(scale)
    shrinks = cv2.INTER_AREA if width > size else cv2.INTER_CUBIC
    image = cv2.resize(image, (size, size), interpolation=shrinks)
  # The published file is kept: every encoding loses something.
  if width != size or not pictures.is_plain_jpeg(data):
    data = pictures.encode_jpeg(image)
  return _entry(picture, eyes, boxes, picture.opened, picture.closed, data)


def _raw(picture: listing.Raw, data: bytes, size: int) -> records.Entry:
  image = pictures.read_picture(io.BytesIO(data))
  face = picture.face
  try:
    square, eyes = alignment.align(image, face, size, one_scale=True)
  except ValueError as error:
    raise pictures.UnusablePictureError(str(error)) from error
  _check_eyes(eyes, size)
  boxes = alignment.draw_boxes(picture.filename, size)
  data = pictures.encode_jpeg(square)
  return _entry(picture, eyes, boxes, face.opened, face.closed, data)


def _check_eyes(eyes: np.ndarray, size: int) -> None:
  if not ((eyes >= 0) & (eyes < size)).all():
    raise pictures.UnusablePictureError('an eye is outside the picture')


def _entry(picture, eyes, boxes, opened, closed, data) -> records.Entry:
  return records.Entry(
    picture.identity,
    # As it is the same on every system; records are text.
    records.readable_name(picture.filename),
    eyes,
    boxes,
    opened,
    closed,
    blobs={'image': data},
  )
