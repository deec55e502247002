"""How sharp and rich in contrast the painted hole is, beside the true one.

Both measures are ratios, result over original: 1 is good, less is a smear,
more is noise. They look at gray levels only.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

# Upper edges of the bands in cycles per pixel; 0.5 is the finest pattern of
# rows or columns.
BANDS = {'low': 1 / 8, 'high': 1.0}
# Gradients this close to the edge of the hole are left out: they also depend on
# how well the edge is hidden.
_MARGIN = 2
# Above what rounding leaves, and below a single level of a single pixel.
_NOTHING = 1e-8


def sharpness(
  truth: UInt8[Array, 'b h w 3'],
  painted: UInt8[Array, 'b h w 3'],
  mask: Bool[Array, 'b h w 1'],
) -> Float[Array, ' b']:
  """Returns the gradient energy in the hole, result over original.

  The energy is the sum of squared differences of neighboring pixels, at least
  two pixels inside the hole. NaN where the original has none.
  """
  side = 2 * _MARGIN + 1
  outside = jax.lax.reduce_window(
    1.0 - mask[..., 0].astype(jnp.float32),
    0.0,
    jax.lax.max,
    (1, side, side),
    (1, 1, 1),
    'SAME',
  )
  inside = 1.0 - outside[:, :-1, :-1]

  def energy(image):
    gray = _gray(image)
    across = jnp.diff(gray, axis=2)[:, :-1]
    down = jnp.diff(gray, axis=1)[:, :, :-1]
    return jnp.sum((across**2 + down**2) * inside, axis=(1, 2))

  return _ratio(energy(painted), energy(truth))


def spectrum(
  truth: UInt8[Array, 'b h w 3'],
  painted: UInt8[Array, 'b h w 3'],
  boxes: Int[Array, 'b 2 4'],
  there: Bool[Array, 'b 2'],
) -> dict[str, Float[Array, ' b']]:
  """Returns the power in bands of the radial spectrum, result over original.

  A Hann window over the box of each hole hides the seam and the rest of the
  picture; the mean under the window is subtracted.

  Args:
    truth: original images.
    painted: results.
    boxes: left, top, right and bottom edge of the holes.
    there: which boxes exist.

  Returns:
    One ratio per image for each of `BANDS`; NaN where the original has no
    power.
  """
  height, width = truth.shape[1:3]
  down = jnp.fft.fftfreq(height)[:, None]
  across = jnp.fft.rfftfreq(width)[None, :]
  radius = jnp.sqrt(down**2 + across**2)[None]

  def powers(image):
    gray, total = _gray(image), jnp.zeros((len(image), len(BANDS)))
    for i in range(boxes.shape[1]):
      left, top, right, bottom = (boxes[:, i, j, None] for j in range(4))
      rows = _hann(top, bottom, height)
      columns = _hann(left, right, width)
      window = rows[:, :, None] * columns[:, None, :]
      area = window.sum(axis=(1, 2), keepdims=True)
      mean = (window * gray).sum(axis=(1, 2), keepdims=True) / area
      part = window * (gray - mean)
      power = jnp.abs(jnp.fft.rfft2(part)) ** 2
      low, found = 0.0, []
      for high in BANDS.values():
        band = (radius >= low) & (radius < high)
        found.append(jnp.sum(jnp.where(band, power, 0.0), axis=(1, 2)))
        low = high
      total += jnp.where(there[:, i, None], jnp.stack(found, axis=1), 0.0)
    return total

  ratio = _ratio(powers(painted), powers(truth))
  return {name: ratio[:, i] for i, name in enumerate(BANDS)}


def _gray(image: UInt8[Array, 'b h w 3']) -> Float[Array, 'b h w']:
  return image.astype(jnp.float32).mean(axis=-1) / 255.0


def _hann(
  low: Int[Array, 'b 1'], high: Int[Array, 'b 1'], side: int
) -> Float[Array, 'b n']:
  """Returns Hann's window from `low` to `high`, 0 elsewhere."""
  at = jnp.arange(side)[None] - low
  length = (high - low).astype(jnp.float32)
  phase = jnp.pi * (at.astype(jnp.float32) + 0.5) / length
  return jnp.where((at >= 0) & (at < high - low), jnp.sin(phase) ** 2, 0.0)


def _ratio(one: Array, other: Array) -> Array:
  is_known = other > _NOTHING
  return jnp.where(is_known, one / jnp.where(is_known, other, 1.0), jnp.nan)
