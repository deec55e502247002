"""Eye boxes to masks, holes, crops and composites, on the device.

Coordinates are pixel indices as Celeb-ID writes them: x to the right, y down,
the first pixel at 0. An eye's box of size (w, h) at (x, y) holds the pixels
with x - w/2 <= column < x + w/2 and y - h/2 <= row < y + h/2.
"""

from __future__ import annotations

import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

# Celeb-ID's boxes are at most 3/8 of the picture's side (96 of 256 pixels).
LARGEST_BOX = 3 / 8
# What holds an eye with its lids, and little else.
EYE = 1 / 4


def hole_masks(
  eyes: Float[Array, 'b 2 2'],
  boxes: Float[Array, 'b 2 2'],
  resolution: int,
) -> Float[Array, 'b h w 1']:
  """Marks the eye boxes with ones.

  Args:
    eyes: centres of the eyes (left, right), as (x, y) in pixels.
    boxes: sizes of the boxes (left, right), as (w, h) in pixels.
    resolution: side of the square pictures in pixels.

  Returns:
    1 inside either box and 0 elsewhere. Boxes may overlap and may leave the
    picture; a box without area marks nothing.
  """
  index = jnp.arange(resolution, dtype=eyes.dtype)[None, None, None, :]
  low = (eyes - boxes / 2)[..., None]
  high = (eyes + boxes / 2)[..., None]
  inside = (low <= index) & (index < high)  # [b, eye, (x, y), pixel]
  columns, rows = inside[:, :, 0], inside[:, :, 1]
  either = jnp.any(rows[..., :, None] & columns[..., None, :], axis=1)
  return either[..., None].astype(eyes.dtype)


def lid_masks(
  corners: Float[Array, 'b 4 2'],
  half_axes: Float[Array, 'b 2'],
  resolution: int,
) -> Float[Array, 'b eye h w']:
  """Marks an ellipse around the corners of each eye with ones.

  Args:
    corners: outer and inner corner of the left eye, inner and outer corner of
      the right one, as (x, y) in pixels.
    half_axes: of the ellipses, along the line of the corners and across it,
      per distance of the outer corners.
    resolution: side of the square pictures in pixels.
  """
  across = corners[:, 3] - corners[:, 0]
  unit = jnp.maximum(jnp.linalg.norm(across, axis=-1), 1e-3)[:, None]
  # Corners at one place have no line: it is taken to be level.
  level = jnp.array([[1, 0]], corners.dtype)
  along = jnp.where(unit > 1e-3, across / unit, level)
  index = jnp.arange(resolution, dtype=corners.dtype)
  centres = (corners[:, ::2] + corners[:, 1::2]) / 2  # [b, eye, (x, y)]
  dx = index[None, None, None, :] - centres[:, :, 0, None, None]
  dy = index[None, None, :, None] - centres[:, :, 1, None, None]
  cosine, sine = (along[:, i, None, None, None] for i in (0, 1))
  axes = jnp.maximum(half_axes * unit, 1e-3)[:, :, None, None, None]
  u = (dx * cosine + dy * sine) / axes[:, 0]
  v = (dy * cosine - dx * sine) / axes[:, 1]
  return (u**2 + v**2 < 1).astype(corners.dtype)


def nearness(
  eyes: Float[Array, 'b 2 2'], resolution: int
) -> Float[Array, 'b h w 1']:
  """How near each pixel is to an eye: 1 at its centre, 0 far away.

  A Gaussian whose standard deviation is a twentieth of the picture's side.

  Args:
    eyes: centres of the eyes (left, right), as (x, y) in pixels.
    resolution: side of the square pictures in pixels.
  """
  index = jnp.arange(resolution, dtype=eyes.dtype)[None, None, None, :]
  offset = (index - eyes[..., None]) * (20.0 / resolution)
  falloff = jnp.exp(-0.5 * offset**2)  # [b, eye, (x, y), pixel]
  columns, rows = falloff[:, :, 0], falloff[:, :, 1]
  return jnp.max(rows[..., :, None] * columns[..., None, :], axis=1)[..., None]


def composite(
  image: Float[Array, 'b h w c'],
  painted: Float[Array, 'b h w c'],
  mask: Float[Array, 'b h w 1'],
) -> Float[Array, 'b h w c']:
  """Keeps the known pixels of `image` and takes the hole from `painted`."""
  return jnp.where(mask > 0, painted, image)


def eye_crops(
  image: Float[Array, 'b h w c'],
  eyes: Float[Array, 'b 2 2'],
  side: int,
) -> Float[Array, 'b 2 side side c']:
  """Cuts a square around each eye.

  Args:
    image: pictures of any range.
    eyes: centres of the eyes (left, right), as (x, y) in pixels.
    side: side of the crops in pixels; see `crop_side`.

  Returns:
    The crops (left, right). Their pixel [side // 2, side // 2] is the first
    one at or after the eye's centre, as in `hole_masks`, so a box no larger
    than the crop lies whole in it. What is outside the picture is zero.
  """

  def crop(picture, xy):
    size = (side, side, picture.shape[-1])
    return jax.lax.dynamic_slice(
      picture, (xy[1], xy[0], jnp.zeros_like(xy[0])), size
    )

  start = _crop_starts(eyes, image.shape, side)
  return jax.vmap(jax.vmap(crop, in_axes=(None, 0)))(_frame(image, side), start)


def paste_crops(
  image: Float[Array, 'b h w c'],
  eyes: Float[Array, 'b 2 2'],
  crops: Float[Array, 'b 2 side side c'],
) -> Float[Array, 'b h w c']:
  """Puts crops, the right eye's last, back to where `eye_crops` cut them."""
  side = crops.shape[2]

  def paste(picture, starts, squares):
    for (x, y), square in zip(starts, squares, strict=True):
      picture = jax.lax.dynamic_update_slice(
        picture, square, (y, x, jnp.zeros_like(x))
      )
    return picture

  start = _crop_starts(eyes, image.shape, side)
  framed = jax.vmap(paste)(_frame(image, side), start, crops)
  return framed[:, side:-side, side:-side]


def _frame(image: jax.Array, side: int) -> jax.Array:
  return jnp.pad(image, ((0, 0), (side, side), (side, side), (0, 0)))


def _crop_starts(
  eyes: jax.Array, shape: tuple[int, ...], side: int
) -> jax.Array:
  """Where in the framed picture each crop begins, int32 (x, y)."""
  centre = jnp.ceil(eyes).astype(jnp.int32)
  # Framed by a whole side, a crop may start anywhere in [0, length + side]
  # and one around an eye far outside the picture is all zero.
  limit = jnp.array([shape[2] + side, shape[1] + side], jnp.int32)
  start = jnp.maximum(centre - side // 2 + side, 0)
  return jnp.minimum(start, limit[None, None])


def crop_side(resolution: int) -> int:
  """Side in pixels of crops that hold the largest box: 48 at 128 pixels.

  A multiple of eight, for the discriminator's strides.
  """
  return math.ceil(resolution * LARGEST_BOX / 8) * 8


def eye_side(resolution: int) -> int:
  """Side in pixels of crops that hold an eye: 32 at 128 pixels."""
  return math.ceil(resolution * EYE / 8) * 8


def hole_boxes(
  masks: Bool[np.ndarray, 'b h w 1'],
) -> tuple[Int[np.ndarray, 'b 2 4'], Bool[np.ndarray, 'b 2']]:
  """Finds the boxes around the holes of masks, on the host.

  Returns:
    Left, top, right and bottom edge in pixels of the two largest connected
    holes, from left to right; and which of them there are. Holes that touch
    are one. A box that is not there holds one pixel.
  """
  boxes = np.tile(np.array([0, 0, 1, 1], np.int32), (len(masks), 2, 1))
  there = np.zeros((len(masks), 2), bool)
  for i, mask in enumerate(masks[..., 0]):
    _, _, found, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    # The first one is what is not a hole; then x, y, width, height, area.
    largest = found[1:][np.argsort(-found[1:, 4], kind='stable')][:2]
    for j, (x, y, w, h, _) in enumerate(sorted(largest.tolist())):
      boxes[i, j], there[i, j] = (x, y, x + w, y + h), True
  return boxes, there


HOLE_COLOUR = 128


def hole(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """Greys the hole of uint8 [..., h, w, 3] by a mask [..., h, w, 1]."""
  return np.where(mask > 0, np.uint8(HOLE_COLOUR), image)


def mask_of(batch: dict[str, np.ndarray]) -> np.ndarray:
  """The holes of a batch on the host, bool [b, h, w, 1]."""
  resolution = batch['image'].shape[1]
  mask = hole_masks(
    jnp.asarray(batch['eyes']), jnp.asarray(batch['boxes']), resolution
  )
  return np.asarray(mask) > 0
