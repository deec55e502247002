"""Areas under ROC curves: how well similarities tell people apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_BLOCK = 1024
_BINS = 4096


def verification_auc(
  codes: Float[np.ndarray, 'n d'], identities: Sequence[str]
) -> float | None:
  """Returns the area under the ROC curve of the cosine similarity of codes.

  This is the probability that two images of one person are more similar than
  two images of different people, over all pairs of images. 0.5 is chance level,
  1 is perfect. Cosines within 1/2048 count as equal.

  Args:
    codes: one code per image.
    identities: identity of each image.

  Returns:
    The area; NaN if a code is not finite; None without pairs of both kinds.
  """
  if not np.isfinite(codes).all():
    return float('nan')
  unit = codes / np.maximum(np.linalg.norm(codes, axis=1, keepdims=True), 1e-12)
  people = np.unique(np.asarray(identities), return_inverse=True)[1]
  same, other = np.zeros(_BINS), np.zeros(_BINS)
  for start in range(0, len(unit), _BLOCK):
    rows = slice(start, start + _BLOCK)
    cosine = unit[rows] @ unit.T
    bins = np.clip((cosine + 1) * (_BINS / 2), 0, _BINS - 1).astype(np.int32)
    # Each pair once, and no image with itself.
    places = np.arange(len(unit))
    later = places[None, :] > places[rows, None]
    alike = people[rows, None] == people[None, :]
    same += np.bincount(bins[later & alike], minlength=_BINS)
    other += np.bincount(bins[later & ~alike], minlength=_BINS)
  pairs = same.sum() * other.sum()
  if not pairs:
    return None
  below = np.cumsum(other) - other
  return float((same * (below + other / 2)).sum() / pairs)


def area(
  same: Float[np.ndarray, ' n'], other: Float[np.ndarray, ' m']
) -> float | None:
  """Returns the probability that a value of `same` is above one of `other`.

  Ties count half. None if either has no values.
  """
  if not same.size or not other.size:
    return None
  other = np.sort(other)
  below = np.searchsorted(other, same, 'left').astype(np.float64)
  above = np.searchsorted(other, same, 'right')
  return float((below + above).mean() / (2 * len(other)))
