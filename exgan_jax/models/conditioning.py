"""Ways to tell the generator, in its bottleneck, whose eyes to paint.

Each is called with the bottleneck's features, float [b, h, w, channels], and
what is told, and returns features of the same shape. `CodeInjection` is the
paper's; `EyeModulation` and `EyeAttention` are options beyond it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from exgan_jax.models.layers import Conv, Encoder

Features = Float[Array, 'b h w c']
Crops = Float[Array, 'b 2 s s 3']


class CodeInjection(nnx.Module):
  """Adds a small map of features, made of each eye's code, where that eye is.

  Told the code of both eyes, float [b, code_size], and their centres, float
  [b, 2, 2], in the bottleneck's pixels. A dense layer a side makes the maps;
  between pixels they are laid down bilinearly.
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
    layer = {'dtype': dtype, 'rngs': rngs}
    self.left = nnx.Linear(code_size // 2, features, **layer)
    self.right = nnx.Linear(code_size // 2, features, **layer)

  def __call__(
    self,
    x: Features,
    told: tuple[Float[Array, 'b n'], Float[Array, 'b 2 2']],
  ) -> Features:
    code, centres = told
    batch, height, width, channels = x.shape
    left, right = jnp.split(code, 2, axis=-1)
    maps = jnp.stack([self.left(left), self.right(right)], axis=1)
    maps = maps.reshape(batch, 2, self.map_side, self.map_side, channels)
    rows = _tents(self.map_side, centres[..., 1], height).astype(x.dtype)
    columns = _tents(self.map_side, centres[..., 0], width).astype(x.dtype)
    return x + jnp.einsum('beijc,beih,bejw->bhwc', maps, rows, columns)


def _tents(
  side: int, centres: Float[Array, 'b 2'], size: int
) -> Float[Array, 'b 2 side size']:
  """How much each place of a map along an axis gives to each pixel."""
  offset = jnp.arange(side, dtype=jnp.float32) - side // 2
  at = (centres[..., None] + offset[None, None])[..., None]
  pixels = jnp.arange(size, dtype=jnp.float32)[None, None, None, :]
  return jnp.maximum(0.0, 1.0 - jnp.abs(pixels - at))


class EyeModulation(nnx.Module):
  """Scales and shifts every channel by what an encoder sees in the eyes.

  Perez et al. 2018, "FiLM: Visual Reasoning with a General Conditioning
  Layer".
  """

  def __init__(
    self,
    channels: int,
    crop_side: int,
    width: int,
    *,
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
  ):
    self.encoder = Encoder(
      3, crop_side, width, 8 * width, kernel=3, dtype=dtype, rngs=rngs
    )
    self.dense = nnx.Linear(16 * width, 2 * channels, dtype=dtype, rngs=rngs)

  def __call__(self, x: Features, crops: Crops) -> Features:
    seen = self.encoder(crops.reshape(-1, *crops.shape[2:]))
    seen = nnx.leaky_relu(seen).reshape(crops.shape[0], -1)
    scale, shift = jnp.split(self.dense(seen)[:, None, None], 2, axis=-1)
    return x * (jnp.ones_like(scale) + scale) + shift


class EyeAttention(nnx.Module):
  """Lets every position look at the reference's eyes, and adds what it finds.

  One head of Vaswani et al. 2017, "Attention Is All You Need", from the
  bottleneck's positions to those of both eyes' feature maps.
  """

  def __init__(
    self,
    channels: int,
    crop_side: int,
    width: int,
    *,
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
  ):
    layer = {'dtype': dtype, 'rngs': rngs}
    self.convs = nnx.List(
      [
        Conv(3, width, strides=2, **layer),
        Conv(width, 2 * width, strides=2, **layer),
      ]
    )
    side = -(-crop_side // 4)
    # Which eye, and where in it, that a position may ask for.
    self.places = nnx.Param(jnp.zeros((2, side, side, 2 * width)))
    self.query = nnx.Linear(channels, channels, **layer)
    # A bias here would add the same to all that a position may attend to.
    self.key = nnx.Linear(2 * width, channels, use_bias=False, **layer)
    self.value = nnx.Linear(2 * width, channels, **layer)

  def __call__(self, x: Features, crops: Crops) -> Features:
    seen = crops.reshape(-1, *crops.shape[2:])
    for conv in self.convs:
      seen = conv(seen)
    seen = seen.reshape(*crops.shape[:2], *seen.shape[1:])
    seen = seen + self.places[...].astype(seen.dtype)[None]
    seen = seen.reshape(x.shape[0], -1, 1, seen.shape[-1])
    queries = self.query(x).reshape(x.shape[0], -1, 1, x.shape[-1])
    # It asks for the type that bfloat16 and float32 share; all else is strict.
    with jax.numpy_dtype_promotion('standard'):
      found = jax.nn.dot_product_attention(
        queries, self.key(seen), self.value(seen)
      )
    return x + found.reshape(x.shape)
