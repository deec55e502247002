"""Whether codes tell people apart: the verification AUC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_BLOCK = 1024
_BINS = 4096


def verification_auc(
  codes: Float[np.ndarray, 'n d'], identities: Sequence[str]
) -> float | None:
  """Returns how often a pair of one person's pictures is more alike.

  The area under the ROC curve of the cosine between codes, over all pairs of
  pictures: the chance that two pictures of one person have a larger cosine
  than two of different people. 0.5 is guessing, 1 is perfect. Cosines count as
  equal within 1/2048.

  Args:
    codes: one code a picture.
    identities: whose picture each is.

  Returns:
    The area; NaN if a code is not finite; None without a pair of either kind.
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
    # Each pair once, and no picture with itself.
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
