"""Hole masks, eye crops and composites.

Coordinates are pixel indices: x to the right, y down, the first pixel at 0. A
box of size (w, h) at (x, y) contains the pixels with x - w/2 <= column < x +
w/2 and y - h/2 <= row < y + h/2. Eyes are given as (x, y) centers of the left
and the right one. Pictures are squares with a side of `resolution` pixels.
"""

from __future__ import annotations

import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

# Parts of the picture's side: the largest box in Celeb-ID, and an eye with its
# lids.
LARGEST_BOX = 3 / 8
EYE = 1 / 4
# Gray of holes in pictures for people.
HOLE_COLOR = 128


def hole_masks(
  eyes: Float[Array, 'b 2 2'],
  boxes: Float[Array, 'b 2 2'],
  resolution: int,
) -> Float[Array, 'b h w 1']:
  """Returns masks with 1 inside either eye box and 0 elsewhere.

  Boxes, with sizes (w, h), may overlap, leave the picture or be empty.
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
  """Returns masks with 1 in an ellipse around the corners of each eye.

  Args:
    corners: outer and inner corner of the left eye, inner and outer corner of
      the right one, as (x, y) in pixels.
    half_axes: of the ellipses, along and across the line of the corners,
      relative to the distance of the outer corners.
    resolution: side of the pictures.
  """
  across = corners[:, 3] - corners[:, 0]
  unit = jnp.maximum(jnp.linalg.norm(across, axis=-1), 1e-3)[:, None]
  # If all corners coincide the line is horizontal.
  level = jnp.array([[1, 0]], corners.dtype)
  along = jnp.where(unit > 1e-3, across / unit, level)
  index = jnp.arange(resolution, dtype=corners.dtype)
  centers = (corners[:, ::2] + corners[:, 1::2]) / 2  # [b, eye, (x, y)]
  dx = index[None, None, None, :] - centers[:, :, 0, None, None]
  dy = index[None, None, :, None] - centers[:, :, 1, None, None]
  cosine, sine = (along[:, i, None, None, None] for i in (0, 1))
  axes = jnp.maximum(half_axes * unit, 1e-3)[:, :, None, None, None]
  u = (dx * cosine + dy * sine) / axes[:, 0]
  v = (dy * cosine - dx * sine) / axes[:, 1]
  return (u**2 + v**2 < 1).astype(corners.dtype)


def nearness(
  eyes: Float[Array, 'b 2 2'], resolution: int
) -> Float[Array, 'b h w 1']:
  """Returns a Gaussian around each eye: 1 at its center, 0 far away.

  Its standard deviation is a twentieth of the picture's side.
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
  """Replaces the hole of `image` by `painted`."""
  return jnp.where(mask > 0, painted, image)


def eye_crops(
  image: Float[Array, 'b h w c'],
  eyes: Float[Array, 'b 2 2'],
  side: int,
) -> Float[Array, 'b 2 side side c']:
  """Cuts out a square around each eye; zero outside the picture.

  Pixel [side // 2, side // 2] of a crop is the first one at or after the eye's
  center, so a box up to the size of the crop is completely inside.
  """

  def crop(picture, xy):
    size = (side, side, picture.shape[-1])
    return jax.lax.dynamic_slice(
      picture, (xy[1], xy[0], jnp.zeros_like(xy[0])), size
    )

  framed, start = _framed(image, eyes, side)
  return jax.vmap(jax.vmap(crop, in_axes=(None, 0)))(framed, start)


def paste_crops(
  image: Float[Array, 'b h w c'],
  eyes: Float[Array, 'b 2 2'],
  crops: Float[Array, 'b 2 side side c'],
) -> Float[Array, 'b h w c']:
  """Pastes crops to where `eye_crops` cut them, the right eye on top."""
  side = crops.shape[2]

  def paste(picture, starts, squares):
    for (x, y), square in zip(starts, squares, strict=True):
      picture = jax.lax.dynamic_update_slice(
        picture, square, (y, x, jnp.zeros_like(x))
      )
    return picture

  framed = jax.vmap(paste)(*_framed(image, eyes, side), crops)
  return framed[:, side:-side, side:-side]


def _framed(
  image: jax.Array, eyes: jax.Array, side: int
) -> tuple[jax.Array, jax.Array]:
  """Pads pictures by `side`; returns them and where crops start, int32 (x, y).

  A crop may then start anywhere in [0, length + side].
  """
  framed = jnp.pad(image, ((0, 0), (side, side), (side, side), (0, 0)))
  center = jnp.ceil(eyes).astype(jnp.int32)
  _, height, width, _ = image.shape
  limit = jnp.array([width + side, height + side], jnp.int32)
  start = jnp.maximum(center - side // 2 + side, 0)
  return framed, jnp.minimum(start, limit[None, None])


def crop_side(resolution: int) -> int:
  """Returns the side of crops that contain the largest box, in pixels.

  It is a multiple of eight, for the discriminator's strides: 48 at 128 pixels.
  """
  return math.ceil(resolution * LARGEST_BOX / 8) * 8


def eye_side(resolution: int) -> int:
  """Returns the side of crops that contain an eye: 32 at 128 pixels."""
  return math.ceil(resolution * EYE / 8) * 8


def hole_boxes(
  masks: Bool[np.ndarray, 'b h w 1'],
) -> tuple[Int[np.ndarray, 'b 2 4'], Bool[np.ndarray, 'b 2']]:
  """Finds the boxes around the two largest connected holes, on the host.

  Returns:
    Left, top, right and bottom edge in pixels, sorted from left to right; and
    whether each box exists. A missing box contains one pixel.
  """
  boxes = np.tile(np.array([0, 0, 1, 1], np.int32), (len(masks), 2, 1))
  there = np.zeros((len(masks), 2), bool)
  for i, mask in enumerate(masks[..., 0]):
    _, _, found, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    # The first component is the background. Rows are x, y, w, h, area.
    largest = found[1:][np.argsort(-found[1:, 4], kind='stable')][:2]
    for j, (x, y, w, h, _) in enumerate(sorted(largest.tolist())):
      boxes[i, j], there[i, j] = (x, y, x + w, y + h), True
  return boxes, there


def hole(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """Grays the hole of uint8 [..., h, w, 3] with a mask [..., h, w, 1]."""
  return np.where(mask > 0, np.uint8(HOLE_COLOR), image)


def mask_of(batch: dict[str, np.ndarray]) -> np.ndarray:
  """Returns the hole masks of a batch on the host, bool [b, h, w, 1]."""
  resolution = batch['image'].shape[1]
  mask = hole_masks(
    jnp.asarray(batch['eyes']), jnp.asarray(batch['boxes']), resolution
  )
  return np.asarray(mask) > 0
