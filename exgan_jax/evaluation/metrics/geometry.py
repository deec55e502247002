"""Where the eyes are, from the points of MediaPipe's face mesh.

Meshes are float [478, 2], x and y in pixels. Left and right are those of the
picture. All errors compare the mesh of the result with that of the truth.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Mesh = Float[np.ndarray, '478 2']

# Of the left and the right eye: upper and lower lid from corner to corner, the
# crease above the upper lid, the iris's center and four points of its rim.
_UPPER = (
  (33, 246, 161, 160, 159, 158, 157, 173, 133),
  (362, 398, 384, 385, 386, 387, 388, 466, 263),
)
_LOWER = (
  (33, 7, 163, 144, 145, 153, 154, 155, 133),
  (362, 382, 381, 380, 374, 373, 390, 249, 263),
)
_CREASE = (
  (247, 30, 29, 27, 28, 56, 190),
  (414, 286, 258, 257, 259, 260, 467),
)
_IRIS = (468, 473)
_RIM = ((469, 470, 471, 472), (474, 475, 476, 477))
_MOUTH_CORNERS = (61, 291)
# Sums of weighted levels of a region must fit into 31 bits.
_MOST_WEIGHT = 2**31 // 256


def irises(mesh: Mesh) -> Float[np.ndarray, '2 3']:
  """Returns x, y and radius in pixels of the left and the right iris."""
  centers = mesh[list(_IRIS)]
  rims = mesh[np.array(_RIM)]
  radii = np.linalg.norm(rims - centers[:, None], axis=-1).mean(axis=1)
  return np.concatenate([centers, radii[:, None]], axis=1)


def landmarks(mesh: Mesh) -> Float[np.ndarray, '3 2']:
  """Returns the eyes and the mouth, which align a face for recognition."""
  mouth = mesh[list(_MOUTH_CORNERS)].mean(axis=0)
  return np.stack([*mesh[list(_IRIS)], mouth])


def lid_weights(
  mesh: Mesh, height: int, width: int
) -> UInt8[np.ndarray, '2 h w']:
  """Returns weights of the upper lid's skin, between lashes and crease."""
  weights = np.zeros((2, height, width), np.uint8)
  for weight, upper, crease in zip(weights, _UPPER, _CREASE, strict=True):
    edge = mesh[list(upper)]
    # Both rows of points run from left to right.
    ring = np.concatenate([edge, mesh[list(crease)][::-1]])
    cv2.fillPoly(weight, [np.rint(ring).astype(np.int32)], 1)
    if number := int(weight.sum()):
      weight *= min(255, max(1, _MOST_WEIGHT // number))
  return weights


def errors(truth: Mesh, result: Mesh) -> dict[str, float]:
  """Returns how far the eyes of the result are from the true ones.

  Returns:
    `lid_error`, the mean distance of the points of the lids' edges, and
    `iris_error`, of the irises' centers, both in units of the distance of the
    true irises; `vergence_error`, how differently the two eyes look: the
    position of the iris from the middle of its eye, in units of the eye's
    width, right minus left, compared with the same of the truth.
  """
  unit = np.linalg.norm(np.diff(truth[list(_IRIS)], axis=0))
  lids = np.array([*_UPPER, *_LOWER])
  moved = np.linalg.norm(truth - result, axis=1)
  return {
    'lid_error': float(moved[lids].mean() / unit),
    'iris_error': float(moved[list(_IRIS)].mean() / unit),
    'vergence_error': float(
      np.linalg.norm(_vergence(truth) - _vergence(result))
    ),
  }


def _vergence(mesh: Mesh) -> Float[np.ndarray, ' 2']:
  """Returns the gaze of the right eye minus that of the left one."""
  across = mesh[263] - mesh[33]
  across = across / np.linalg.norm(across)
  axes = np.stack([across, [-across[1], across[0]]])
  gazes = []
  for center, upper in zip(_IRIS, _UPPER, strict=True):
    start, end = mesh[upper[0]], mesh[upper[-1]]
    width = np.linalg.norm(end - start)
    gazes.append(axes @ (mesh[center] - (start + end) / 2) / width)
  return gazes[1] - gazes[0]
