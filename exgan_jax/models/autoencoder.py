"""The compressor: an auto-encoder whose codes identify eyes.

One encoder is shared by left and right eyes; each has its own decoder, as they
are mirrored. The code model uses the encoder with frozen parameters.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from exgan_jax.models.layers import Conv, Encoder


class EyeEncoder(nnx.Module):
  """Encodes eyes.

  Called with left and right eyes, float [b, 2, side, side, 3] in [-1, 1];
  returns float32 [b, 2, code_size]. Codes have a mean square of 1, so that
  distances are comparable between compressors.
  """

  def __init__(self, crop_side: int, width: int, code_size: int, **layer: Any):
    self.encoder = Encoder(3, crop_side, width, code_size, kernel=3, **layer)

  def __call__(
    self, crops: Float[Array, 'b 2 s s 3']
  ) -> Float[Array, 'b 2 code']:
    codes = self.encoder(crops.reshape(-1, *crops.shape[2:]))
    codes = codes.reshape(*crops.shape[:2], -1).astype(jnp.float32)
    square = jnp.mean(codes**2, axis=-1, keepdims=True)
    return codes * jax.lax.rsqrt(square + 1e-6)


class EyeDecoder(nnx.Module):
  """Decodes codes of left or of right eyes to float [b, side, side, 3]."""

  def __init__(self, crop_side: int, width: int, code_size: int, **layer: Any):
    c = width
    self.side = crop_side // 4
    self.dense = nnx.Linear(code_size, self.side**2 * 2 * c, **layer)
    self.convs = nnx.List(
      [Conv(2 * c, c, doubles=True, **layer), Conv(c, c, doubles=True, **layer)]
    )
    self.output = Conv(c, 3, activation=nnx.tanh, **layer)

  def __call__(self, code: Float[Array, 'b n']) -> Float[Array, 'b s s 3']:
    x = nnx.leaky_relu(self.dense(code))
    x = x.reshape(code.shape[0], self.side, self.side, -1)
    for conv in self.convs:
      x = conv(x)
    return self.output(x)


class Compressor(nnx.Module):
  """Encodes and decodes eyes.

  Called with float [b, 2, side, side, 3] in [-1, 1]; returns the same, float32.

  Args:
    crop_side: side of the eye crops in pixels, a multiple of eight.
    width: channels of the first and the last layer.
    code_size: length of one eye's code.
    **layer: `dtype` of the arithmetic, and `rngs`.
  """

  def __init__(self, crop_side: int, width: int, code_size: int, **layer: Any):
    shape = (crop_side, width, code_size)
    self.encoder = EyeEncoder(*shape, **layer)
    self.left = EyeDecoder(*shape, **layer)
    self.right = EyeDecoder(*shape, **layer)

  def __call__(
    self, crops: Float[Array, 'b 2 s s 3']
  ) -> Float[Array, 'b 2 s s 3']:
    codes = self.encoder(crops)
    eyes = self.left(codes[:, 0]), self.right(codes[:, 1])
    return jnp.stack(eyes, axis=1).astype(jnp.float32)
