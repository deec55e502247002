"""Where eyes look, and what is in front of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32

from exgan_jax.face_records.alignment import Face
from exgan_jax.photo import transplant
from exgan_jax.photo.faces import AlignedFace

# Irises lie outwards of the middle of their corners, by this part of the eye's
# width together: the median of 911 pictures of Labeled Faces in the Wild, of
# which one in fifty is off by more than the second number.
_OUTWARDS, _APART = 0.10, 0.10
# Eyes that look this much aside, in widths of an eye, count for a third. It is
# 0.14 in one of ten pictures.
_ASIDE = 0.2

# An eye's patch: width and height, the corners in it, by how much it may be
# shifted, and the blur that lashes and noise are lost in; in pixels.
_PATCH = (64, 44)
_PATCH_CORNERS = np.array([(14.0, 24.0), (50.0, 24.0)])
_SHIFT_X, _SHIFT_Y, _BLUR = 6, 4, 1.2
# Others to compare an eye with.
_MOST = 12


def gaze(face: Face) -> tuple[float, float]:
  """How far the irises are from the middle of their eyes, in widths of an eye.

  Returns:
    To the right, the mean of both eyes; and how much nearer to each other they
    are than those of people who look ahead. NaN if the corners are not known.
  """
  if face.corners is None:
    return math.nan, math.nan
  corners = np.array(face.corners).reshape(2, 2, 2)
  along = corners[:, 1] - corners[:, 0]
  offset = np.array(face.both_eyes) - corners.mean(axis=1)
  left, right = (offset * along).sum(axis=1) / (along**2).sum(axis=1)
  return float(left + right) / 2, float(left - right) + _OUTWARDS


def looks_ahead(face: Face) -> float:
  """1 for eyes that look where the head faces, less for others, in [0, 1]."""
  aside, nearer = gaze(face)
  if math.isnan(aside):
    return 1.0
  apart = max(0.0, abs(nearer) - _APART) / _APART
  return math.exp(-((aside / _ASIDE) ** 2) - apart**2)


def are_apart(face: Face) -> bool:
  """Whether the eyes look to different places."""
  return abs(gaze(face)[1]) > 2 * _APART


def clear(people: Sequence[AlignedFace]) -> list[float]:
  """How much the eyes in each picture of a person look like eyes, in [0, 1].

  What lies before an eye (a hand, hair, glare) is neither before the other one
  nor in other pictures. An eye's value is the mean of two correlations: with
  the other eye, mirrored, and the median with the eyes in other pictures. The
  lower one of both eyes counts. One picture alone, or one without corners, is
  given 1: heads that are turned have low values, too.
  """
  known = [each for each in people if each.face.corners is not None]
  patches = {id(each): _patches(each) for each in known}
  values = []
  for each in people:
    others = [
      patch
      for other in known[: _MOST + 1]
      if other is not each
      for patch in patches[id(other)]
    ]
    if each.face.corners is None or not others:
      values.append(1.0)
      continue
    ours = patches[id(each)]
    agreed = [np.median([_alike(eye, o) for o in others]) for eye in ours]
    mirrored = _alike(*ours)
    values.append(max(0.0, (mirrored + float(min(agreed))) / 2))
  return values


def _patches(aligned: AlignedFace) -> list[Float32[np.ndarray, '44 64']]:
  """Both eyes, the right one mirrored: outer corners are on the left."""
  corners = np.array(aligned.face.corners) @ aligned.matrix[:, :2].T
  corners += aligned.matrix[:, 2]
  gray = cv2.cvtColor(aligned.square, cv2.COLOR_RGB2GRAY).astype(np.float32)
  patches = []
  for side, pair in enumerate((corners[:2], corners[2:])):
    matrix = transplant.similarity(pair, _PATCH_CORNERS)
    patch = cv2.warpAffine(
      gray, matrix, _PATCH, flags=cv2.INTER_AREA,
      borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    patch = cv2.GaussianBlur(patch, (0, 0), _BLUR)
    patches.append(patch[:, ::-1].copy() if side else patch)
  return patches


def _alike(one: np.ndarray, other: np.ndarray) -> float:
  """The best correlation of two patches over small shifts."""
  inner = one[_SHIFT_Y:-_SHIFT_Y, _SHIFT_X:-_SHIFT_X]
  return float(cv2.matchTemplate(other, inner, cv2.TM_CCOEFF_NORMED).max())
