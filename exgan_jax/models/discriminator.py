"""The discriminators.

After Iizuka et al. 2017: a global branch for the picture, with the exemplar as
extra channels, and a local branch for a crop of each eye. Their features, and
those of the codes in the code model, are joined to one logit.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from exgan_jax.models.layers import Conv, Encoder

FEATURES_PER_WIDTH = 16


class Discriminator(nnx.Module):
  """Tells real from painted pictures.

  Called with the picture, float [b, h, w, in_channels], the eye crops, float
  [b, 2, side, side, 3], and the codes, float [b, code_size]. Returns logits,
  float32 [b], large for real pictures.

  Args:
    in_channels: channels of the picture: 3, or 7 with an exemplar.
    width: channels of the first layers, doubled up to eight times as many.
    resolution: side of the pictures in pixels.
    crop_side: side of the eye crops in pixels.
    code_size: length of the codes of exemplar and picture together; 0 for
      models without codes.
    dtype: type of the arithmetic; parameters and logits are float32.
  """

  def __init__(
    self,
    in_channels: int,
    width: int,
    resolution: int,
    crop_side: int,
    code_size: int,
    *,
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
  ):
    features = FEATURES_PER_WIDTH * width
    layer: dict[str, Any] = {'dtype': dtype, 'rngs': rngs}
    self.globally = Encoder(in_channels, resolution, width, features, **layer)
    self.locally = Encoder(3, crop_side, width, features, **layer)
    self.of_codes = (
      nnx.Linear(code_size, features, **layer) if code_size else None
    )
    joined = (4 if code_size else 3) * features
    self.logit = nnx.Linear(joined, 1, **layer)

  def __call__(
    self,
    picture: Float[Array, 'b h w c'],
    crops: Float[Array, 'b 2 s s 3'],
    codes: Float[Array, 'b n'],
  ) -> Float[Array, ' b']:
    batch = picture.shape[0]
    # Left and right eyes share weights; the last layer tells them apart.
    eyes = self.locally(crops.reshape(-1, *crops.shape[2:]))
    features = [self.globally(picture), eyes.reshape(batch, -1)]
    if self.of_codes is not None:
      features.append(self.of_codes(codes))
    joined = nnx.leaky_relu(jnp.concatenate(features, axis=-1))
    return self.logit(joined)[:, 0].astype(jnp.float32)


class EyeDiscriminator(nnx.Module):
  """Tells patches of real eyes from painted ones, for the transfer model.

  Called with eye crops of the picture, the aligned reference and the hole mask,
  float [b, 2, side, side, in_channels]. Returns one logit per patch, float32
  [b, patches], large for real pictures.
  """

  def __init__(
    self, in_channels: int, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs
  ):
    c = width
    layer: dict[str, Any] = {'dtype': dtype, 'rngs': rngs}
    self.convs = nnx.List(
      [
        Conv(in_channels, 2 * c, 4, strides=2, **layer),
        Conv(2 * c, 4 * c, 4, strides=2, **layer),
        Conv(4 * c, 4 * c, **layer),
        Conv(4 * c, 1, activation=lambda x: x, **layer),
      ]
    )

  def __call__(
    self, crops: Float[Array, 'b 2 s s c']
  ) -> Float[Array, 'b patches']:
    x = crops.reshape(-1, *crops.shape[2:])
    for conv in self.convs:
      x = conv(x)
    return x.reshape(crops.shape[0], -1).astype(jnp.float32)
