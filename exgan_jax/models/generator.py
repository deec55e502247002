"""The generator: a dilated encoder-decoder at a quarter of the resolution.

After Iizuka et al. 2017, "Globally and Locally Consistent Image Completion",
with fewer channels, as eyes are a narrow domain, and with sums across: the
bottleneck's layers add to what they get, and the encoder's features are added
to the decoder's of the same size, which makes it learn a good deal faster. By
default nothing is normalised: instance statistics would wash out the colours
that the exemplar is there to tell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from exgan_jax.models.conditioning import CodeInjection
from exgan_jax.models.layers import Conv


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
  """Shape of the generator.

  Attributes:
    in_channels: holed image and mask (4), and the exemplar and its mask (8).
    width: channels at full resolution; twice as many at half, four times at a
      quarter of it.
    dilations: one dilated convolution each, in the bottleneck.
    code_size: numbers of the exemplar's code, which enters the bottleneck; 0
      for a model without codes.
    crop_side: side of the crops that the code was made of, in pixels.
    dtype: type of the arithmetic; parameters are float32.
  """

  in_channels: int
  width: int
  dilations: Sequence[int] = (2, 4, 8, 16)
  code_size: int = 0
  crop_side: int = 0
  dtype: jnp.dtype = jnp.float32


class Generator(nnx.Module):
  """Paints the hole of a picture.

  Called with float [b, h, w, in_channels], sides divisible by four, and for a
  model with codes the exemplar's code, float [b, code_size], and the centres of
  the hole's eyes, float [b, 2, 2] in pixels. Returns float32 [b, h, w, 3] in
  [-1, 1].
  """

  def __init__(self, config: GeneratorConfig, *, rngs: nnx.Rngs):
    c = config.width
    layer: dict[str, Any] = {'dtype': config.dtype, 'rngs': rngs}

    def conv(*args, **kwargs):
      return Conv(*args, **layer, **kwargs)

    self.encoder = nnx.List(
      [
        conv(config.in_channels, c, 5),
        conv(c, 2 * c, strides=2),
        conv(2 * c, 2 * c),
        conv(2 * c, 4 * c, strides=2),
        conv(4 * c, 4 * c),
      ]
    )
    # A map as large as an eye at a quarter of the resolution, and odd.
    map_side = config.crop_side // 4 + 1
    self.told = (
      CodeInjection(4 * c, config.code_size, map_side, **layer)
      if config.code_size
      else None
    )
    self.bottleneck = nnx.List(
      [
        *(conv(4 * c, 4 * c, dilation=d) for d in config.dilations),
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
    told: tuple[jax.Array, jax.Array] | None = None,
  ) -> Float[Array, 'b h w 3']:
    steps = []
    for layer in self.encoder:
      x = layer(x)
      steps.append(x)
    if self.told is not None:
      assert told is not None, 'a model with codes needs one'
      code, eyes = told
      # Four pixels make one; an index is the place of a pixel's centre.
      x = self.told(x, (code, (eyes + 0.5) / 4.0 - 0.5))
    for layer in self.bottleneck:
      x = x + layer(x)
    full, half = steps[0], steps[2]
    first, second, third, fourth = self.decoder
    x = second(first(x) + half)
    x = fourth(third(x) + full)
    return self.output(x).astype(jnp.float32)
