"""In-painting without a network: what a trained model has to beat.

Host side, uint8 in and uint8 out. A hole mask is bool or uint8, and what is
not 0 is hole. Known pixels come back unchanged, and no baseline looks at the
original's pixels under the hole.
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
"""Pixels around each point of the hole that `telea` draws on."""

_Picture = UInt8[np.ndarray, 'h w 3']
_Mask = Bool[np.ndarray, 'h w'] | UInt8[np.ndarray, 'h w']
_PerEye = Float[np.ndarray, '2 2']


def mean_fill(image: _Picture, mask: _Mask) -> _Picture:
  """Fills the hole with the mean colour of the picture's known pixels.

  The mean is rounded per channel. A picture without known pixels becomes
  black.
  """
  hole = _as_hole(image, mask)
  result = image.copy()
  known = image[~hole]
  colour = known.mean(axis=0, dtype=np.float64) if len(known) else np.zeros(3)
  result[hole] = np.rint(colour).astype(np.uint8)
  return result


def telea(image: _Picture, mask: _Mask) -> _Picture:
  """Continues the known pixels into the hole by fast marching.

  Telea, "An image inpainting technique based on the fast marching method",
  2004, as implemented by OpenCV, with radius `TELEA_RADIUS`.
  """
  hole = _as_hole(image, mask)
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
  """Pastes the reference's eye boxes into the holes, each eye into its own.

  A box holds the pixels x with ex - w/2 <= x < ex + w/2, and rows likewise.
  Each of the reference's boxes is resized (bilinear, with antialiasing) to
  the whole box of the same eye in the image, and of that only what lies in
  the picture and in the mask is used. Where the reference's box leaves its
  picture, the nearest pixel stands in. Where both boxes overlap, the second
  eye is on top. A hole pixel in neither box, or in one whose counterpart is
  empty, gets the colour of `mean_fill`.

  Args:
    image: the picture to in-paint.
    boxes: (w, h) in pixels of the left and the right eye's box.
    eyes: (x, y) in pixels of the left and the right eye.
    reference: the picture to take the eyes from, of any size.
    reference_eyes: as `eyes`, in the reference.
    reference_boxes: as `boxes`, in the reference.
    mask: the hole.

  Returns:
    The in-painted picture.
  """
  hole = _as_hole(image, mask)
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
  """Lays the reference into the holes, aligned by its eye corners and relit.

  The similarity of least squares takes the reference's corners onto the
  picture's; what it differs from the picture around the hole is continued
  harmonically into it and added. It is what an untrained transfer model paints.

  Args:
    batch: a host batch with `corners` and `reference_corners`.
    mask: the holes [B, H, W].

  Returns:
    The in-painted pictures.
  """
  hole = (mask != 0)[..., None]
  names = (
    'image', 'eyes', 'corners', 'reference', 'reference_eyes',
    'reference_corners',
  )  # fmt: skip
  painted = np.asarray(_clone({name: batch[name] for name in names}, hole))
  return np.where(hole & batch['valid'][:, None, None, None], painted,
                  batch['image'])  # fmt: skip


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


def _as_hole(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
  if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
    raise ValueError(
      f'a picture is uint8 [H, W, 3], got {image.dtype} {list(image.shape)}'
    )
  if mask.shape != image.shape[:2]:
    raise ValueError(
      f'a mask of {list(mask.shape)} does not fit a picture of '
      f'{list(image.shape)}'
    )
  return mask != 0


def _box_edges(eye: np.ndarray, box: np.ndarray) -> tuple[int, int, int, int]:
  """Returns x0, x1, y0, y1 of a box: x0 <= x < x1, perhaps off the picture."""
  # In float32, like the device's masks, so that both round alike.
  eye, half = np.float32(eye), np.float32(box) / np.float32(2)
  low, high = np.ceil(eye - half), np.ceil(eye + half)
  if not (np.isfinite(low).all() and np.isfinite(high).all()):
    return 0, 0, 0, 0
  return int(low[0]), int(high[0]), int(low[1]), int(high[1])


def _cut(image: np.ndarray, eye: np.ndarray, box: np.ndarray) -> np.ndarray:
  """Cuts out a box, continued by the nearest pixel off the picture."""
  x0, x1, y0, y1 = _box_edges(eye, box)
  rows = np.clip(np.arange(y0, y1), 0, image.shape[0] - 1)
  columns = np.clip(np.arange(x0, x1), 0, image.shape[1] - 1)
  return image[rows[:, None], columns]


def _over_batch(
  baseline: Callable[..., np.ndarray], *fields: str
) -> Callable[[Mapping[str, np.ndarray], np.ndarray], np.ndarray]:
  """Makes a baseline of single pictures one of a host batch and its masks."""

  def over_batch(
    batch: Mapping[str, np.ndarray], mask: np.ndarray
  ) -> np.ndarray:
    result = batch['image'].copy()
    for i in np.flatnonzero(batch['valid']):
      result[i] = baseline(*(batch[field][i] for field in fields), mask[i])
    return result

  over_batch.__name__ = baseline.__name__
  over_batch.__doc__ = baseline.__doc__
  return over_batch


BASELINES: dict[
  str, Callable[[Mapping[str, np.ndarray], np.ndarray], np.ndarray]
] = {
  'mean_fill': _over_batch(mean_fill, 'image'),
  'telea': _over_batch(telea, 'image'),
  'reference_paste': _over_batch(
    reference_paste,
    'image',
    'boxes',
    'eyes',
    'reference',
    'reference_eyes',
    'reference_boxes',
  ),
  'reference_clone': reference_clone,
}
"""Baselines by name; each takes a host batch (`image` and `reference` uint8
[B, H, W, 3]; `eyes`, `boxes`, `reference_eyes`, `reference_boxes` float32
[B, 2, 2]; `corners`, `reference_corners` float32 [B, 4, 2]; `valid` bool [B])
and the hole masks [B, H, W], bool or uint8, and returns the in-painted pictures
uint8 [B, H, W, 3]. Rows that are not valid come back as they are."""
