"""The discriminator: the whole picture and both eyes, one logit.

A global branch over the picture (with the exemplar as extra channels where
the model has one) and a local branch over a crop of each eye; their features
are joined. After Iizuka et al. 2017, with a crop an eye instead of one crop.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from exgan_jax.models.generator import Conv

SMALLEST_SIDE = 4
FEATURES_PER_WIDTH = 16


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
  """Shape of the discriminator.

  Attributes:
    in_channels: channels of the global branch: 3, and 4 with an exemplar.
    width: channels of the first layers, doubled up to eight times as many.
    resolution: side of the pictures in pixels.
    crop_side: side of the eye crops in pixels.
    dtype: type of the arithmetic; parameters and the logit are float32.
  """

  in_channels: int
  width: int
  resolution: int
  crop_side: int
  dtype: jnp.dtype = jnp.float32


class Branch(nnx.Module):
  """Strided convolutions down to a few pixels, then a vector."""

  def __init__(
    self,
    in_channels: int,
    side: int,
    config: DiscriminatorConfig,
    *,
    rngs: nnx.Rngs,
  ):
    self.convs = nnx.List()
    channels = config.width
    while side > SMALLEST_SIDE:
      self.convs.append(
        Conv(in_channels, channels, 5, strides=2, dtype=config.dtype, rngs=rngs)
      )
      in_channels, channels = channels, min(2 * channels, 8 * config.width)
      side = -(-side // 2)
    self.dense = nnx.Linear(
      side * side * in_channels,
      FEATURES_PER_WIDTH * config.width,
      dtype=config.dtype,
      rngs=rngs,
    )

  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n f']:
    for conv in self.convs:
      x = conv(x)
    return nnx.leaky_relu(self.dense(x.reshape(x.shape[0], -1)))


class Discriminator(nnx.Module):
  """Tells pictures from painted ones.

  Called with the channels of the global branch, float [b, h, w, in_channels],
  and the eye crops, float [b, 2, side, side, 3]; returns the logits, float32
  [b], large for real pictures.
  """

  def __init__(self, config: DiscriminatorConfig, *, rngs: nnx.Rngs):
    self.globally = Branch(
      config.in_channels, config.resolution, config, rngs=rngs
    )
    self.locally = Branch(3, config.crop_side, config, rngs=rngs)
    self.logit = nnx.Linear(
      3 * FEATURES_PER_WIDTH * config.width, 1, dtype=config.dtype, rngs=rngs
    )

  def __call__(
    self, picture: Float[Array, 'b h w c'], crops: Float[Array, 'b 2 s s 3']
  ) -> Float[Array, ' b']:
    batch = picture.shape[0]
    whole = self.globally(picture)
    # One set of weights sees left and right eyes; the join tells them apart.
    eyes = self.locally(crops.reshape(-1, *crops.shape[2:]))
    joined = jnp.concatenate([whole, eyes.reshape(batch, -1)], axis=-1)
    return self.logit(joined)[:, 0].astype(jnp.float32)
