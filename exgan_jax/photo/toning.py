"""Black-and-white and toned photos, which must keep their tones."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, Shaped

# Luminance levels of a toning curve.
_BINS = 33
# A photograph is toned if its colors are a function of their luminance, but
# for this root of the mean square, in [0, 1]. Of 126 photographs in color the
# least colourful has 0.0081; the same made sepia, as JPEG of quality 50, have
# at most 0.0072.
_TONED = 0.0076
# Side of the picture that is looked at.
_SIDE = 64
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


@dataclasses.dataclass(frozen=True)
class Tones:
  """The colors of a toned photograph by their luminance, [33, 3]."""

  colors: np.ndarray

  def __call__(
    self, image: Float[np.ndarray, 'h w 3']
  ) -> Float[np.ndarray, 'h w 3']:
    """Maps each color to the tone of its luminance."""
    level = np.clip(image @ _LUMINANCE, 0, 1)
    bins = np.linspace(0, 1, _BINS)
    channels = [np.interp(level, bins, c) for c in self.colors.T]
    return np.stack(channels, axis=-1).astype(np.float32)


def of_image(image: Float[np.ndarray, 'h w 3']) -> Tones | None:
  """The tones of a picture in [0, 1], or None if it has colors.

  Gray is the simplest of them.
  """
  level = image @ _LUMINANCE
  offset = (image - level[..., None]).reshape(-1, 3)
  place = level.reshape(-1) * (_BINS - 1)
  # Each pixel counts for the two bins beside it.
  low = np.clip(place.astype(int), 0, _BINS - 2)
  part = place - low
  weight = np.bincount(low, 1 - part, _BINS) + np.bincount(low + 1, part, _BINS)
  seen = weight > 1e-3
  bins = np.arange(_BINS)
  curve = np.empty((_BINS, 3))
  for c in range(3):
    total = np.bincount(low, (1 - part) * offset[:, c], _BINS)
    total += np.bincount(low + 1, part * offset[:, c], _BINS)
    mean = total[seen] / weight[seen]
    curve[:, c] = np.interp(bins, bins[seen], mean)
  rest = offset - np.stack(
    [np.interp(place, bins, curve[:, c]) for c in range(3)], axis=-1
  )
  if np.sqrt(np.mean(rest**2)) > _TONED:
    return None
  return Tones(curve + np.linspace(0, 1, _BINS)[:, None])


def of_picture(pixels: Shaped[np.ndarray, 'h w c']) -> Tones | None:
  """The tones of a whole picture, uint8 or uint16, gray or RGB, with alpha.

  None where it has colors, or a single channel, which needs no care.
  """
  if pixels.shape[2] < 3:
    return None
  # Averaging takes away what JPEG does to single pixels' colors.
  small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
  levels = np.float32(np.iinfo(pixels.dtype).max)
  return of_image(small[..., :3].astype(np.float32) / levels)
