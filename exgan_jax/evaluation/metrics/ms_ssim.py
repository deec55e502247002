"""MS-SSIM, reported as the distance 1 - MS-SSIM: smaller is better.

Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image
quality assessment", 2003. There are two variants, whose values cannot be
compared:

- `standard`: the window is 11 x 11 at every scale, so the shorter side of the
  image must have at least 161 pixels. The value is computed per channel, then
  averaged, as in TensorFlow's `ssim_multiscale` and pytorch-msssim.
- `shrinking`: at scales smaller than the window, the window and its sigma
  shrink with the image, so any size works. The terms of each scale are averaged
  over channels before they are multiplied, as in the TensorFlow models of 2016
  and in Karras et al., "Progressive Growing of GANs", 2018.

Numerics: with d the difference and s the sum of both images, the contrast term
is 1 - var(d) / (var(x) + var(y) + C2), where var(x) + var(y) is
(var(s) + var(d)) / 2; luminance has the same form. The code computes one minus
each term, so equal images give exactly 0, and small distances keep their
relative precision in float32, which the textbook form loses.
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

# The coarsest scale, rounded up, must still hold one window.
STANDARD_MIN_SIZE = (_WINDOW - 1) * 2 ** (len(_WEIGHTS) - 1) + 1


def ms_ssim_variant(resolution: int) -> str:
  """Returns the variant for images whose shorter side is `resolution`."""
  return 'standard' if resolution >= STANDARD_MIN_SIZE else 'shrinking'


def ms_ssim_distance_per_image(
  original: Float[Array, 'b h w c'],
  result: Float[Array, 'b h w c'],
  variant: str,
) -> Float[Array, ' b']:
  """Returns 1 - MS-SSIM of each image.

  Negative terms are clamped at 0, so the distance of finite images is never
  NaN. Before halving, odd sides are padded by their last row or column, as in
  TensorFlow; other libraries differ here.

  Args:
    original: images with values in [0, 1].
    result: images to score, in the same range.
    variant: `standard` or `shrinking`; see the module.

  Returns:
    One distance per image, in [0, 1].
  """
  # An offset does not change variances, and small values have small rounding
  # errors.
  offset = original.mean(axis=(1, 2), keepdims=True)
  x, y = original - offset, result - offset
  deficits = []
  for scale in range(len(_WEIGHTS)):
    if scale:
      x, y = _halve(x), _halve(y)
    ssim, contrast = _deficits(x, y, offset)
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
  """Filters by the Gaussian window without padding.

  Written as a sum of shifted images: XLA fuses it, it is float32 on every
  device, and on a CPU it is 20 times as fast as a depthwise convolution.
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
) -> tuple[Float[Array, 'b c'], Float[Array, 'b c']]:
  """Returns 1 - SSIM and 1 - contrast, averaged over a scale's windows."""
  s, d = x + y, x - y
  # Concatenated along channels, so that a sharded batch is not moved. Four
  # separate filters take as long to run, but eight times as long to compile.
  blurred = _blur(jnp.concatenate([s, d, s * s, d * d], axis=3))
  mean_s, mean_d, mean_ss, mean_dd = jnp.split(blurred, 4, axis=3)
  var_s = jnp.maximum(mean_ss - mean_s**2, 0.0)
  var_d = jnp.maximum(mean_dd - mean_d**2, 0.0)
  contrast = var_d / ((var_s + var_d) / 2 + _C2)
  mean_s = mean_s + 2 * offset
  luminance = mean_d**2 / ((mean_s**2 + mean_d**2) / 2 + _C1)
  ssim = luminance + contrast - luminance * contrast
  return ssim.mean(axis=(1, 2)), contrast.mean(axis=(1, 2))


def _halve(x: Float[Array, 'b h w c']) -> Float[Array, 'b h2 w2 c']:
  """Averages blocks of 2 x 2 pixels."""
  b, h, w, c = x.shape
  x = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode='edge')
  return x.reshape(b, (h + 1) // 2, 2, (w + 1) // 2, 2, c).mean(axis=(2, 4))
