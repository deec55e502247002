"""Turns a listed picture into an entry."""

import cv2
import numpy as np

from exgan_jax.face_records import alignment, pictures
from exgan_jax.face_records.pictures import UnusablePictureError
from tfds_celeb_id import records
from tfds_celeb_id.celeb_id import listing, sources
from tfds_celeb_id.photos import check_eyes


def make_entry(
  picture: listing.Aligned | listing.Raw,
  source: sources.Folder | sources.Archive,
  size: int,
) -> records.Entry | records.Rejected:
  """Reads a picture, aligns it if needed, and encodes it.

  Args:
    picture: the picture and its annotations.
    source: where the file is.
    size: side of the aligned picture.
  """
  try:
    data = source.read(picture.filename)
    image = pictures.read_picture(data)
    if isinstance(picture, listing.Aligned):
      return _aligned(picture, image, data, size)
    return _raw(picture, image, size)
  except UnusablePictureError as error:
    return records.Rejected(picture.identity, picture.filename, str(error))


def _aligned(
  picture: listing.Aligned, image: np.ndarray, data: bytes, size: int
) -> records.Entry:
  height, width = image.shape[:2]
  if height != width:
    raise UnusablePictureError('not square, so not aligned')
  boxes = np.array(picture.boxes, np.float32)
  if boxes.max() > width:
    raise UnusablePictureError('an eye box larger than the picture')
  eyes = np.array(picture.eyes, np.float32)
  check_eyes(eyes, width)
  if width != size:
    # Pixel centers are at whole numbers, the picture's edge is at -0.5.
    scale = size / width
    eyes = (eyes + 0.5) * np.float32(scale) - np.float32(0.5)
    boxes = boxes * np.float32(scale)
    shrinks = cv2.INTER_AREA if width > size else cv2.INTER_CUBIC
    image = cv2.resize(image, (size, size), interpolation=shrinks)
  # Another encoding would lose quality, so the published file is kept.
  if width != size or not pictures.is_plain_jpeg(data):
    data = pictures.encode_jpeg(image)
  return _entry(picture, eyes, boxes, picture.opened, picture.closed, data)


def _raw(picture: listing.Raw, image: np.ndarray, size: int) -> records.Entry:
  face = picture.face
  try:
    square, eyes = alignment.align(image, face, size, one_scale=True)
  except ValueError as error:
    raise UnusablePictureError(str(error)) from error
  check_eyes(eyes, size)
  boxes = alignment.draw_boxes(picture.filename, size)
  data = pictures.encode_jpeg(square)
  return _entry(picture, eyes, boxes, face.opened, face.closed, data)


def _entry(picture, eyes, boxes, opened, closed, data) -> records.Entry:
  name = records.readable_name(picture.filename)
  return records.Entry(
    *(picture.identity, name, eyes, boxes, opened, closed),
    blobs={'image': data},
  )
