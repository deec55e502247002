"""In-painting without a trained network, as baselines.

All run on the host, on uint8 images. A hole mask is bool or uint8, nonzero in
the hole. Known pixels are returned unchanged, and no baseline reads the pixels
in the hole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from exgan_jax.models import inputs, transfer, warp

TELEA_RADIUS = 3
"""Neighborhood of each hole pixel that `telea` uses, in pixels."""

_Picture = UInt8[np.ndarray, 'h w 3']
_Mask = Bool[np.ndarray, 'h w'] | UInt8[np.ndarray, 'h w']
_PerEye = Float[np.ndarray, '2 2']
Baseline = Callable[[Mapping[str, np.ndarray], np.ndarray], np.ndarray]


def mean_fill(image: _Picture, mask: _Mask) -> _Picture:
  """Fills the hole with the mean color of the known pixels.

  An image without known pixels becomes black.
  """
  hole = mask != 0
  result = image.copy()
  known = image[~hole]
  color = known.mean(axis=0, dtype=np.float64) if len(known) else np.zeros(3)
  result[hole] = np.rint(color).astype(np.uint8)
  return result


def telea(image: _Picture, mask: _Mask) -> _Picture:
  """Propagates the known pixels into the hole by fast marching.

  Telea, "An image inpainting technique based on the fast marching method",
  2004, as implemented by OpenCV, with radius `TELEA_RADIUS`.
  """
  hole = mask != 0
  holed = np.where(hole[..., None], np.uint8(0), image)
  return cv2.inpaint(
    holed, hole.astype(np.uint8), TELEA_RADIUS, cv2.INPAINT_TELEA
  )


def reference_paste(
  image: _Picture,
  boxes: _PerEye,
  eyes: _PerEye,
  reference: _Picture,
  reference_eyes: _PerEye,
  reference_boxes: _PerEye,
  mask: _Mask,
) -> _Picture:
  """Pastes the reference's eye boxes into the hole.

  A box holds the pixels x with ex - w/2 <= x < ex + w/2, and the same for y.
  Each box of the reference is resized (bilinear, with antialiasing) to the box
  of the same eye in the image, then clipped to the image and the hole. Boxes
  that leave the reference are padded by its edge pixels. If both boxes overlap,
  the right eye is on top. Other hole pixels, and those whose box is empty in
  the reference, get the color of `mean_fill`.

  Args:
    image: the image to in-paint.
    boxes: (w, h) in pixels of the boxes of the left and the right eye.
    eyes: (x, y) in pixels of the left and the right eye.
    reference: the reference image, of any size.
    reference_eyes: as `eyes`, in the reference.
    reference_boxes: as `boxes`, in the reference.
    mask: the hole mask.
  """
  hole = mask != 0
  pasted = mean_fill(image, mask)
  height, width = image.shape[:2]
  for eye in range(2):
    x0, x1, y0, y1 = _box_edges(eyes[eye], boxes[eye])
    patch = _cut(reference, reference_eyes[eye], reference_boxes[eye])
    if x0 >= x1 or y0 >= y1 or not patch.size:
      continue
    patch = np.asarray(
      Image.fromarray(patch).resize(
        (x1 - x0, y1 - y0), Image.Resampling.BILINEAR
      )
    )
    left, top = max(x0, 0), max(y0, 0)
    right, bottom = max(min(x1, width), left), max(min(y1, height), top)
    pasted[top:bottom, left:right] = patch[
      top - y0 : bottom - y0, left - x0 : right - x0
    ]
  return np.where(hole[..., None], pasted, image)


def reference_clone(
  batch: Mapping[str, np.ndarray], mask: np.ndarray
) -> np.ndarray:
  """Aligns the reference by its eye corners and clones it into the hole.

  The alignment is the least-squares similarity of the corners. The difference
  to the image around the hole is interpolated harmonically and added. This is
  also the output of an untrained transfer model.

  Args:
    batch: a host batch with `corners` and `reference_corners`.
    mask: the hole masks [B, H, W].
  """
  hole = (mask != 0)[..., None]
  names = (
    *('image', 'eyes', 'corners'),
    *('reference', 'reference_eyes', 'reference_corners'),
  )
  painted = np.asarray(_clone({name: batch[name] for name in names}, hole))
  valid = batch['valid'][:, None, None, None]
  return np.where(hole & valid, painted, batch['image'])


@jax.jit
def _clone(batch: dict[str, jax.Array], hole: jax.Array) -> jax.Array:
  corners, reference_corners = inputs.eye_corners(batch)
  mask = hole.astype(jnp.float32)
  cloned = transfer.closed_form(
    transfer.TransferInput(
      image=inputs.to_float(batch['image']),
      mask=mask,
      near=mask,
      reference=inputs.to_float(batch['reference']),
      matrix=warp.similarity(corners, reference_corners),
      trusted=jnp.ones(len(mask)),
    )
  )
  return inputs.to_uint8((cloned + 1.0) / 2.0)


def _box_edges(eye: np.ndarray, box: np.ndarray) -> tuple[int, int, int, int]:
  """Returns x0, x1, y0, y1 of a box with x0 <= x < x1; it may be off-image."""
  # In float32, to round like the masks on the device.
  center, half = (np.asarray(x, np.float32) for x in (eye, box))
  half = half / np.float32(2)
  low, high = np.ceil(center - half), np.ceil(center + half)
  if not (np.isfinite(low).all() and np.isfinite(high).all()):
    return 0, 0, 0, 0
  return int(low[0]), int(high[0]), int(low[1]), int(high[1])


def _cut(image: np.ndarray, eye: np.ndarray, box: np.ndarray) -> np.ndarray:
  """Cuts out a box, padded by edge pixels."""
  x0, x1, y0, y1 = _box_edges(eye, box)
  rows = np.clip(np.arange(y0, y1), 0, image.shape[0] - 1)
  columns = np.clip(np.arange(x0, x1), 0, image.shape[1] - 1)
  return image[rows[:, None], columns]


def _over_batch(baseline: Callable[..., np.ndarray], *fields: str) -> Baseline:
  """Applies a baseline of single images to the valid images of a batch."""

  def over_batch(
    batch: Mapping[str, np.ndarray], mask: np.ndarray
  ) -> np.ndarray:
    result = batch['image'].copy()
    for i in np.flatnonzero(batch['valid']):
      result[i] = baseline(*(batch[field][i] for field in fields), mask[i])
    return result

  return over_batch


BASELINES: dict[str, Baseline] = {
  'mean_fill': _over_batch(mean_fill, 'image'),
  'telea': _over_batch(telea, 'image'),
  'reference_paste': _over_batch(
    reference_paste,
    *('image', 'boxes', 'eyes'),
    *('reference', 'reference_eyes', 'reference_boxes'),
  ),
  'reference_clone': reference_clone,
}
"""Baselines by name.

Each takes a host batch (`image` and `reference`, uint8 [B, H, W, 3]; `eyes`,
`boxes`, `reference_eyes` and `reference_boxes`, float32 [B, 2, 2]; `corners`
and `reference_corners`, float32 [B, 4, 2]; `valid`, bool [B]) and hole masks
[B, H, W], and returns the in-painted images, uint8 [B, H, W, 3]. Images that
are not valid are returned unchanged.
"""
