"""Iris colors and their perceptual distance, CIEDE2000.

Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula: implementation
notes, supplementary test data, and mathematical observations", 2005. A distance
of about 1 is just noticeable; brown and blue eyes are about 40 apart.

Colors are summed on the device; distances are computed on the host in float64.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

# The white point of sRGB, D65: X, Y, Z.
_WHITE = (0.95047, 1.0, 1.08883)
_TO_XYZ = (
  (0.4124564, 0.3575761, 0.1804375),
  (0.2126729, 0.7151522, 0.0721750),
  (0.0193339, 0.1191920, 0.9503041),
)


def color_distance(
  original: Int[np.ndarray, '*n 4'], result: Int[np.ndarray, '*n 4']
) -> Float[np.ndarray, '*n']:
  """Returns the CIEDE2000 distance between the colors of irises.

  Args:
    original: output of `color_sums` for the original.
    result: output of `color_sums` for the result.

  Returns:
    One float64 distance per iris; NaN if its position is not known.
  """
  return ciede2000(*(srgb_to_lab(color(x)) for x in (original, result)))


def color(sums: Int[np.ndarray, '*n 4']) -> Float[np.ndarray, '*n 3']:
  """Returns the mean colors in [0, 1] of `color_sums`."""
  total = np.where(sums[..., 3:] > 0, 255.0 * sums[..., 3:], np.nan)
  return sums[..., :3] / total


def iris_weights(
  irises: Float[np.ndarray, 'b 2 3'], height: int, width: int
) -> UInt8[np.ndarray, 'b 2 h w']:
  """Returns the weights of pixels for the color of an iris, on the host.

  They are largest to the left and the right of the pupil, because the lids hide
  what is above and below it, and the rim is dark.

  Args:
    irises: x, y and radius in pixels of the left and the right iris.
    height: height of the images in pixels.
    width: their width.

  Returns:
    Weights up to 255; all 0 for an iris whose position is not known.
  """
  weights = np.zeros((*irises.shape[:2], height, width), np.uint8)
  columns, rows = np.arange(width)[None, :], np.arange(height)[:, None]
  for place in np.argwhere(np.isfinite(irises).all(axis=-1)):
    x, y, radius = irises[tuple(place)].astype(np.float64)
    across, down = (columns - x) / radius, (rows - y) / radius
    ring = (np.hypot(across, down) - 0.66) / 0.2
    weight = np.exp(-(ring**2) - (down / 0.45) ** 4)
    weights[tuple(place)] = np.round(255 * weight)
  return weights


def color_sums(
  image: UInt8[Array, 'b h w 3'], weights: UInt8[Array, 'b 2 h w']
) -> Int[Array, 'b 2 4']:
  """Returns the weighted sums of the colors of each iris.

  Sums are in integers, so that they are the same on every device.

  Args:
    image: images.
    weights: output of `iris_weights`.

  Returns:
    The sums of weighted red, green and blue, and of the weights.
  """
  weights, image = weights.astype(jnp.int32), image.astype(jnp.int32)
  ones = jnp.ones_like(image[..., :1])
  image = jnp.concatenate([image, ones], axis=-1)
  return jnp.einsum('behw,bhwc->bec', weights, image)


def srgb_to_lab(color: Float[np.ndarray, '*n 3']) -> Float[np.ndarray, '*n 3']:
  """Converts sRGB in [0, 1] to CIE L*a*b* (L* in [0, 100]), both D65."""
  color = np.asarray(color, np.float64)
  linear = np.where(
    color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4
  )
  xyz = linear @ (np.asarray(_TO_XYZ) / np.asarray(_WHITE)[:, None]).T
  cut = 6 / 29
  root = np.where(xyz > cut**3, np.cbrt(xyz), xyz / (3 * cut**2) + 4 / 29)
  fx, fy, fz = root[..., 0], root[..., 1], root[..., 2]
  return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=-1)


def ciede2000(
  first: Float[np.ndarray, '*n 3'], second: Float[np.ndarray, '*n 3']
) -> Float[np.ndarray, '*n']:
  """Returns the CIEDE2000 distances between colors in L*a*b*.

  Sharma et al. 2005, equations 2 to 22, with parametric factors of 1.
  """
  l1, a1, b1 = (first[..., i] for i in range(3))
  l2, a2, b2 = (second[..., i] for i in range(3))
  mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
  stretch = 1.5 - 0.5 * _saturation(mean_chroma)
  a1, a2 = stretch * a1, stretch * a2
  c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
  h1, h2 = (_degrees(b, a) for a, b in ((a1, b1), (a2, b2)))

  gray = c1 * c2 == 0
  turn = h2 - h1
  turn = turn - 360.0 * np.round(turn / 360.0)
  turn = np.where(gray, 0.0, turn)
  # The mean hue lies on the shorter arc; for opposite hues, as in the paper, it
  # is the arithmetic mean.
  far = np.abs(h1 - h2) > 180.0
  around = np.where(h1 + h2 < 360.0, 180.0, -180.0)
  hue = (h1 + h2) / 2 + np.where(far, around, 0.0)
  hue = np.where(gray, h1 + h2, hue)

  lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
  t = (
    1
    - 0.17 * _cos(hue - 30)
    + 0.24 * _cos(2 * hue)
    + 0.32 * _cos(3 * hue + 6)
    - 0.20 * _cos(4 * hue - 63)
  )
  middle = (lightness - 50) ** 2
  scale_l = 1 + 0.015 * middle / np.sqrt(20 + middle)
  scale_c = 1 + 0.045 * chroma
  scale_h = 1 + 0.015 * chroma * t
  rotation = (
    -2
    * _saturation(chroma)
    * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
  )
  dl = (l2 - l1) / scale_l
  dc = (c2 - c1) / scale_c
  dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / scale_h
  square = dl**2 + dc**2 + dh**2 + rotation * dc * dh
  return np.sqrt(np.maximum(square, 0.0))


def _saturation(chroma):
  return np.sqrt(chroma**7 / (chroma**7 + 25.0**7))


def _degrees(y, x):
  """Returns the angle in [0, 360), 0 for the origin."""
  return np.degrees(np.arctan2(y, x)) % 360.0


def _cos(degrees):
  return np.cos(np.radians(degrees))
