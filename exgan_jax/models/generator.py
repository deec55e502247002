"""The generator: a dilated encoder-decoder with skip connections.

After Iizuka et al. 2017, "Globally and Locally Consistent Image Completion",
with fewer channels, as eyes are a narrow domain. Residual connections in the
bottleneck and skip connections from the encoder to the decoder make it learn
much faster. There is no normalization: instance statistics would remove the
colors that the exemplar provides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from exgan_jax.models.layers import Conv


class Generator(nnx.Module):
  """Paints the hole of a picture.

  Called with float [b, h, w, in_channels], sides divisible by four, and for
  models with codes the exemplar's code, float [b, code_size], and the eye
  centers, float [b, 2, 2] in pixels. Returns float32 [b, h, w, 3] in [-1, 1].

  Args:
    in_channels: 4 for the holed image and mask, 8 with the exemplar and its
      mask.
    width: channels at full resolution; doubled at a half and at a quarter.
    dilations: rates of the bottleneck's convolutions.
    code_size: length of the exemplar's code for both eyes; 0 for models without
      codes.
    crop_side: side in pixels of the eye crops that the code describes.
    dtype: type of the arithmetic; parameters are float32.
  """

  def __init__(
    self,
    in_channels: int,
    width: int,
    dilations: Sequence[int],
    code_size: int,
    crop_side: int,
    *,
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
  ):
    c = width
    layer: dict[str, Any] = {'dtype': dtype, 'rngs': rngs}

    def conv(*args, **kwargs):
      return Conv(*args, **layer, **kwargs)

    self.encoder = nnx.List(
      [
        conv(in_channels, c, 5),
        conv(c, 2 * c, strides=2),
        conv(2 * c, 2 * c),
        conv(2 * c, 4 * c, strides=2),
        conv(4 * c, 4 * c),
      ]
    )
    # Odd, and about as large as an eye at a quarter of the resolution.
    map_side = crop_side // 4 + 1
    self.told = (
      CodeInjection(4 * c, code_size, map_side, **layer) if code_size else None
    )
    self.bottleneck = nnx.List(
      [
        *(conv(4 * c, 4 * c, dilation=d) for d in dilations),
        conv(4 * c, 4 * c),
      ]
    )
    self.decoder = nnx.List(
      [
        conv(4 * c, 2 * c, doubles=True),
        conv(2 * c, 2 * c),
        conv(2 * c, c, doubles=True),
        conv(c, c),
      ]
    )
    self.output = conv(c, 3, activation=nnx.tanh)

  def __call__(
    self,
    x: Float[Array, 'b h w c'],
    code: tuple[jax.Array, jax.Array] | None = None,
  ) -> Float[Array, 'b h w 3']:
    steps = []
    for layer in self.encoder:
      x = layer(x)
      steps.append(x)
    if self.told is not None:
      assert code is not None, 'a model with codes needs a code'
      numbers, eyes = code
      # From pixels to those of a quarter of the resolution; indices are pixel
      # centers.
      x = self.told(x, numbers, (eyes + 0.5) / 4.0 - 0.5)
    for layer in self.bottleneck:
      x = x + layer(x)
    full, half = steps[0], steps[2]
    first, second, third, fourth = self.decoder
    x = second(first(x) + half)
    x = fourth(third(x) + full)
    return self.output(x).astype(jnp.float32)


class CodeInjection(nnx.Module):
  """Adds a feature map, computed from each eye's code, at that eye.

  Called with features, the code of both eyes and their centers in pixels of the
  features. Maps are placed with bilinear interpolation.
  """

  def __init__(
    self,
    channels: int,
    code_size: int,
    map_side: int,
    *,
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
  ):
    self.map_side = map_side
    features = map_side**2 * channels
    layer: dict[str, Any] = {'dtype': dtype, 'rngs': rngs}
    self.left = nnx.Linear(code_size // 2, features, **layer)
    self.right = nnx.Linear(code_size // 2, features, **layer)

  def __call__(
    self,
    x: Float[Array, 'b h w c'],
    code: Float[Array, 'b n'],
    centers: Float[Array, 'b 2 2'],
  ) -> Float[Array, 'b h w c']:
    batch, height, width, channels = x.shape
    left, right = jnp.split(code, 2, axis=-1)
    maps = jnp.stack([self.left(left), self.right(right)], axis=1)
    maps = maps.reshape(batch, 2, self.map_side, self.map_side, channels)
    rows = _weights(self.map_side, centers[..., 1], height).astype(x.dtype)
    columns = _weights(self.map_side, centers[..., 0], width).astype(x.dtype)
    return x + jnp.einsum('beijc,beih,bejw->bhwc', maps, rows, columns)


def _weights(
  side: int, centers: Float[Array, 'b 2'], size: int
) -> Float[Array, 'b 2 side size']:
  """Returns the interpolation weights of map cells for pixels of one axis."""
  offset = jnp.arange(side, dtype=jnp.float32) - side // 2
  at = (centers[..., None] + offset[None, None])[..., None]
  pixels = jnp.arange(size, dtype=jnp.float32)[None, None, None, :]
  return jnp.maximum(0.0, 1.0 - jnp.abs(pixels - at))
