"""MS-SSIM, reported as the distance 1 - MS-SSIM: smaller is better.

Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image
quality assessment", 2003. Two variants exist, and their numbers are not
comparable, so each goes by its own name:

- `standard`: the window is 11 x 11 at every scale, so the picture must have
  161 pixels or more on its shorter side. The value is computed per channel,
  then averaged. TensorFlow's `ssim_multiscale` and pytorch-msssim do the same.
- `shrinking`: at scales smaller than the window, the window and its sigma
  shrink with the picture, so any size will do. Each scale's terms are
  averaged over the channels before they are multiplied. This is the variant
  of the TensorFlow models of 2016 and of Karras et al., "Progressive Growing
  of GANs", 2018.

Numerics: with d the difference and s the sum of both pictures, the contrast
term is 1 - var(d) / (var(x) + var(y) + C2), where var(x) + var(y) is
(var(s) + var(d)) / 2, and likewise for luminance. So what is computed is how
far each term is from 1: equal pictures give exactly 0, and small distances
keep their relative precision in float32, which the textbook form loses.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW = 11
_SIGMA = 1.5
_C1 = 0.01**2
_C2 = 0.03**2
VARIANTS = ('standard', 'shrinking')

# The coarsest scale, rounded up, must still hold one window.
STANDARD_MIN_SIZE = (_WINDOW - 1) * 2 ** (len(_WEIGHTS) - 1) + 1


def ms_ssim_variant(resolution: int) -> str:
  """Names the variant for pictures whose shorter side is `resolution`."""
  return 'standard' if resolution >= STANDARD_MIN_SIZE else 'shrinking'


def ms_ssim_distance_per_image(
  original: Float[Array, 'b h w c'],
  result: Float[Array, 'b h w c'],
  variant: str,
  hole: Float[Array, 'b h w 1'] | None = None,
) -> Float[Array, ' b']:
  """Returns each picture's 1 - MS-SSIM, or that of its hole.

  Negative terms are clamped at 0, so the distance is never NaN for finite
  pictures. Odd sides are padded by their last row or column before halving,
  as TensorFlow does; other libraries differ from it and each other there.

  Args:
    original: pictures with values in [0, 1].
    result: the pictures to judge, in the same range.
    variant: `standard` or `shrinking`; see the module.
    hole: 1 in the hole, 0 elsewhere. With it a window counts, at every scale,
      by how much of what it looks at, under its own weights, is hole.

  Returns:
    One distance a picture, in [0, 1]; with `hole` 0 for a picture that has
    none, which means nothing.

  Raises:
    ValueError: no such variant, or the pictures are too small for it.
  """
  if variant not in VARIANTS:
    raise ValueError(
      f'no MS-SSIM variant {variant!r}; there are {", ".join(VARIANTS)}'
    )
  height, width = original.shape[1:3]
  if variant == 'standard' and min(height, width) < STANDARD_MIN_SIZE:
    raise ValueError(
      f'standard MS-SSIM needs {STANDARD_MIN_SIZE} pixels a side, got '
      f'{width} x {height}'
    )
  # A constant offset changes no variance, and what is small rounds little.
  offset = original.mean(axis=(1, 2), keepdims=True)
  x, y = original - offset, result - offset
  deficits = []
  for scale in range(len(_WEIGHTS)):
    if scale:
      x, y = _halve(x), _halve(y)
      hole = hole if hole is None else _halve(hole)
    ssim, contrast = _deficits(x, y, offset, hole)
    deficits.append(ssim if scale == len(_WEIGHTS) - 1 else contrast)
  deficit = jnp.stack(deficits, axis=1)
  if variant == 'shrinking':
    deficit = deficit.mean(axis=2, keepdims=True)
  # 1 - prod((1 - deficit)**weight), where a deficit above 1 counts as 1.
  logs = jnp.log1p(-jnp.minimum(deficit, 1.0))
  weights = jnp.asarray(_WEIGHTS, logs.dtype)[None, :, None]
  return jnp.abs(jnp.expm1((weights * logs).sum(axis=1))).mean(axis=1)


def _gaussian(size: int) -> np.ndarray:
  sigma = _SIGMA * size / _WINDOW
  position = np.arange(size) - (size - 1) / 2
  window = np.exp(-0.5 * (position / sigma) ** 2)
  return (window / window.sum()).astype(np.float32)


def _blur(x: Float[Array, 'b h w c']) -> Float[Array, 'b h2 w2 c']:
  """Filters by the Gaussian window, keeping only where it fits whole.

  Written as a sum of shifted pictures: XLA fuses it, it is float32 on every
  device, and on a CPU it takes a twentieth of a depthwise convolution's time.
  """
  window = _gaussian(min(_WINDOW, *x.shape[1:3]))
  for axis in (1, 2):
    kept = x.shape[axis] - len(window) + 1
    x = sum(
      weight * jax.lax.slice_in_dim(x, i, i + kept, axis=axis)
      for i, weight in enumerate(window)
    )
  return x


def _deficits(
  x: Float[Array, 'b h w c'],
  y: Float[Array, 'b h w c'],
  offset: Float[Array, 'b 1 1 c'],
  hole: Float[Array, 'b h w 1'] | None,
) -> tuple[Float[Array, 'b c'], Float[Array, 'b c']]:
  """Returns 1 - SSIM and 1 - contrast term, means over a scale's windows."""
  s, d = x + y, x - y
  # One filter for all four, along the channels so that a sharded batch stays
  # where it is: four filters take as long to run but eight times to compile.
  blurred = _blur(jnp.concatenate([s, d, s * s, d * d], axis=3))
  mean_s, mean_d, mean_ss, mean_dd = jnp.split(blurred, 4, axis=3)
  var_s = jnp.maximum(mean_ss - mean_s**2, 0.0)
  var_d = jnp.maximum(mean_dd - mean_d**2, 0.0)
  contrast = var_d / ((var_s + var_d) / 2 + _C2)
  mean_s = mean_s + 2 * offset
  luminance = mean_d**2 / ((mean_s**2 + mean_d**2) / 2 + _C1)
  ssim = luminance + contrast - luminance * contrast
  if hole is None:
    return ssim.mean(axis=(1, 2)), contrast.mean(axis=(1, 2))
  weight = _blur(hole)
  total = jnp.maximum(weight.sum(axis=(1, 2)), jnp.finfo(weight.dtype).tiny)
  return tuple(
    (weight * term).sum(axis=(1, 2)) / total for term in (ssim, contrast)
  )


def _halve(x: Float[Array, 'b h w c']) -> Float[Array, 'b h2 w2 c']:
  """Averages blocks of 2 x 2 pixels."""
  b, h, w, c = x.shape
  x = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode='edge')
  return x.reshape(b, (h + 1) // 2, 2, (w + 1) // 2, 2, c).mean(axis=(2, 4))
