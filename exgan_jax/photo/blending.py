"""From a painted square back into the photograph it was cut from."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float

# The part of an eye box, from its edge to its centre, that fades in.
FEATHER = 0.4
# How square the region is: 2 is an ellipse.
_POWER = 3.0


@dataclasses.dataclass(frozen=True)
class Patch:
  """What is laid over a part of a photograph.

  Attributes:
    top: its first row.
    left: its first column.
    colors: float32 [h, w, 3] in [0, 1].
    opacity: float32 [h, w] in [0, 1].
  """

  top: int
  left: int
  colors: np.ndarray
  opacity: np.ndarray


def patch_of(
  painted: Float[np.ndarray, 's s 3'],
  eyes: Float[np.ndarray, '2 2'],
  boxes: Float[np.ndarray, '2 2'],
  matrix: Float[np.ndarray, '2 3'],
  size: tuple[int, int],
) -> Patch | None:
  """Takes a square's painted eyes to their photograph.

  Args:
    painted: the square, in [0, 1].
    eyes: centres of its eyes, as (x, y) in pixels.
    boxes: sizes of the holes around them, as (w, h) in pixels.
    matrix: from the photograph's pixels to the square's (`Crop.matrix`).
    size: height and width of the photograph.

  Returns:
    The part of the photograph that changes: within the holes, fading towards
    their edges; none where they lie outside.
  """
  back = cv2.invertAffineTransform(matrix)
  corners = [
    back @ [*(eye + np.array(sign) * box / 2), 1]
    for eye, box in zip(eyes, boxes, strict=True)
    for sign in ((-1, -1), (-1, 1), (1, -1), (1, 1))
  ]
  low = np.maximum(np.floor(np.min(corners, axis=0)), 0).astype(int)
  high = np.minimum(np.ceil(np.max(corners, axis=0)) + 1, size[::-1])
  width, height = np.maximum(high.astype(int) - low, 0)
  if not width * height:
    return None
  # Where in the square each pixel's color comes from.
  x = np.arange(low[0], low[0] + width, dtype=np.float32)
  y = np.arange(low[1], low[1] + height, dtype=np.float32)[:, None]
  m = matrix.astype(np.float32)
  u = m[0, 0] * x + m[0, 1] * y + m[0, 2]
  v = m[1, 0] * x + m[1, 1] * y + m[1, 2]
  opacity = np.zeros((height, width), np.float32)
  for eye, box in zip(eyes, boxes, strict=True):
    opacity = np.maximum(opacity, _opacity(u, v, eye, box))
  # A square with more pixels than the face in the photograph is smoothed.
  step = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
  if step > 1:
    sigma = 0.5 * np.sqrt(step**2 - 1)
    painted = cv2.GaussianBlur(painted, (0, 0), sigma)
  colors = cv2.remap(
    painted, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
  )
  return Patch(int(low[1]), int(low[0]), np.clip(colors, 0, 1), opacity)


def _opacity(
  u: np.ndarray, v: np.ndarray, eye: np.ndarray, box: np.ndarray
) -> np.ndarray:
  """1 around the centre of a box, falling smoothly to 0 at its edge."""
  if not (box > 0).all():
    return np.zeros_like(u)
  across = np.abs(u - np.float32(eye[0])) / np.float32(box[0] / 2)
  down = np.abs(v - np.float32(eye[1])) / np.float32(box[1] / 2)
  outwards = (across**_POWER + down**_POWER) ** (1 / _POWER)
  t = np.clip((1 - outwards) / np.float32(FEATHER), 0, 1)
  return t * t * (3 - 2 * t)
