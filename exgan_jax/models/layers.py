"""Layers that several networks use."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from exgan_jax.models.cpu_conv import convolve, convolve_doubled

SMALLEST_SIDE = 4


class Conv(nnx.Module):
  """A convolution and an activation.

  Called with float [b, h, w, in_channels]. With `doubles` every pixel is
  repeated to twice the height and width before a 3 x 3 convolution.
  """

  def __init__(
    self,
    in_channels: int,
    out_channels: int,
    kernel: int = 3,
    *,
    strides: int = 1,
    dilation: int = 1,
    doubles: bool = False,
    activation: Callable[[jax.Array], jax.Array] = nnx.leaky_relu,
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
  ):
    self.activation = activation
    self.conv = nnx.Conv(
      in_channels,
      out_channels,
      (kernel, kernel),
      strides=strides,
      kernel_dilation=dilation,
      conv_general_dilated=convolve_doubled if doubles else convolve,
      dtype=dtype,
      rngs=rngs,
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    return self.activation(self.conv(x))


class Encoder(nnx.Module):
  """Strided convolutions down to a few pixels, then a linear layer.

  Called with float [n, side, side, in_channels]; returns float [n, features].
  """

  def __init__(
    self,
    in_channels: int,
    side: int,
    width: int,
    features: int,
    *,
    kernel: int = 5,
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
  ):
    self.convs: nnx.List[Conv] = nnx.List()
    channels = width
    while side > SMALLEST_SIDE:
      self.convs.append(
        Conv(in_channels, channels, kernel, strides=2, dtype=dtype, rngs=rngs)
      )
      in_channels, channels = channels, min(2 * channels, 8 * width)
      side = -(-side // 2)
    self.dense = nnx.Linear(
      side * side * in_channels, features, dtype=dtype, rngs=rngs
    )

  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n f']:
    for conv in self.convs:
      x = conv(x)
    return self.dense(x.reshape(x.shape[0], -1))
