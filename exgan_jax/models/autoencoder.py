"""The compressor: an auto-encoder of eyes, whose code tells one from another.

One encoder takes one eye at a time, left or right; two decoders draw them, as
left and right eyes are mirrored. The code-based model uses the encoder alone,
and does not train it further.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from exgan_jax.models.layers import Conv, Encoder

# The decoder starts at a quarter of the crop's side.
_DOUBLINGS = 2


@dataclasses.dataclass(frozen=True)
class CompressorConfig:
  """Shape of the compressor.

  Attributes:
    crop_side: side of the eye crops in pixels, a multiple of eight.
    width: channels of the first layer and of the last one.
    code_size: numbers of one eye's code.
    dtype: type of the arithmetic; parameters, codes and pictures are float32.
  """

  crop_side: int
  width: int
  code_size: int
  dtype: jnp.dtype = jnp.float32


class EyeEncoder(nnx.Module):
  """Eyes to codes.

  Called with float [b, 2, side, side, 3] in [-1, 1], left and right; returns
  float32 [b, 2, code_size]. A code has a mean square of 1, so that distances
  between codes mean the same for every compressor.
  """

  def __init__(self, config: CompressorConfig, *, rngs: nnx.Rngs):
    self.encoder = Encoder(
      3,
      config.crop_side,
      config.width,
      config.code_size,
      kernel=3,
      dtype=config.dtype,
      rngs=rngs,
    )

  def __call__(
    self, crops: Float[Array, 'b 2 s s 3']
  ) -> Float[Array, 'b 2 code']:
    codes = self.encoder(crops.reshape(-1, *crops.shape[2:]))
    codes = codes.reshape(*crops.shape[:2], -1).astype(jnp.float32)
    square = jnp.mean(codes**2, axis=-1, keepdims=True)
    return codes * jax.lax.rsqrt(square + 1e-6)


class EyeDecoder(nnx.Module):
  """Codes of eyes of one side to pictures, float [b, side, side, 3]."""

  def __init__(self, config: CompressorConfig, *, rngs: nnx.Rngs):
    self.side = config.crop_side // 2**_DOUBLINGS
    channels = config.width * 2 ** (_DOUBLINGS - 1)
    self.dense = nnx.Linear(
      config.code_size,
      self.side**2 * channels,
      dtype=config.dtype,
      rngs=rngs,
    )
    self.convs: nnx.List[Conv] = nnx.List()
    for _ in range(_DOUBLINGS):
      narrower = max(channels // 2, config.width)
      self.convs.append(
        Conv(channels, narrower, doubles=True, dtype=config.dtype, rngs=rngs)
      )
      channels = narrower
    self.output = Conv(
      channels, 3, activation=nnx.tanh, dtype=config.dtype, rngs=rngs
    )

  def __call__(self, code: Float[Array, 'b n']) -> Float[Array, 'b s s 3']:
    x = nnx.leaky_relu(self.dense(code))
    x = x.reshape(code.shape[0], self.side, self.side, -1)
    for conv in self.convs:
      x = conv(x)
    return self.output(x)


class Compressor(nnx.Module):
  """Encodes and decodes eyes.

  Called with float [b, 2, side, side, 3] in [-1, 1]; returns the same, float32.
  """

  def __init__(self, config: CompressorConfig, *, rngs: nnx.Rngs):
    self.encoder = EyeEncoder(config, rngs=rngs)
    self.left = EyeDecoder(config, rngs=rngs)
    self.right = EyeDecoder(config, rngs=rngs)

  def __call__(
    self, crops: Float[Array, 'b 2 s s 3']
  ) -> Float[Array, 'b 2 s s 3']:
    codes = self.encoder(crops)
    eyes = self.left(codes[:, 0]), self.right(codes[:, 1])
    return jnp.stack(eyes, axis=1).astype(jnp.float32)
