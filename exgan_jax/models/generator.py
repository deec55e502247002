"""The generator: a dilated encoder-decoder at a quarter of the resolution.

After Iizuka et al. 2017, "Globally and Locally Consistent Image Completion",
with fewer channels, as eyes are a narrow domain. Normalisation is left out:
the network is shallow, and instance statistics would wash out the colours
that the exemplar is there to tell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
  """Shape of the generator.

  Attributes:
    in_channels: holed image and mask (4), and the exemplar and its mask (8).
    width: channels at full resolution; twice as many at half, four times at a
      quarter of it.
    dilations: one dilated convolution each, in the bottleneck.
    dtype: type of the arithmetic; parameters are float32.
  """

  in_channels: int
  width: int
  dilations: Sequence[int] = (2, 4, 8, 16)
  dtype: jnp.dtype = jnp.float32


class Conv(nnx.Module):
  """A convolution and an activation."""

  def __init__(
    self,
    in_channels: int,
    out_channels: int,
    kernel: int = 3,
    *,
    strides: int = 1,
    dilation: int = 1,
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
      dtype=dtype,
      rngs=rngs,
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    return self.activation(self.conv(x))


class Generator(nnx.Module):
  """Paints the hole of a picture.

  Called with float [b, h, w, in_channels], sides divisible by four; returns
  float32 [b, h, w, 3] in [-1, 1].
  """

  def __init__(self, config: GeneratorConfig, *, rngs: nnx.Rngs):
    c = config.width

    def conv(*args, **kwargs):
      return Conv(*args, dtype=config.dtype, rngs=rngs, **kwargs)

    self.encoder = nnx.List(
      [
        conv(config.in_channels, c, 5),
        conv(c, 2 * c, strides=2),
        conv(2 * c, 2 * c),
        conv(2 * c, 4 * c, strides=2),
        conv(4 * c, 4 * c),
      ]
    )
    self.bottleneck = nnx.List(
      [
        *(conv(4 * c, 4 * c, dilation=d) for d in config.dilations),
        conv(4 * c, 4 * c),
      ]
    )
    self.decoder = nnx.List(
      [
        conv(4 * c, 2 * c),
        conv(2 * c, 2 * c),
        conv(2 * c, c),
        conv(c, c),
      ]
    )
    self.output = conv(c, 3, activation=nnx.tanh)

  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w 3']:
    for layer in self.encoder:
      x = layer(x)
    for layer in self.bottleneck:
      x = layer(x)
    halves, full = self.decoder[:2], self.decoder[2:]
    for layers in (halves, full):
      x = _double(x)
      for layer in layers:
        x = layer(x)
    return self.output(x).astype(jnp.float32)


def _double(x: jax.Array) -> jax.Array:
  """Repeats every pixel twice each way."""
  return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
