"""How the exemplar's code enters the generator's bottleneck."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

Features = Float[Array, 'b h w c']


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
    layer: dict[str, Any] = {'dtype': dtype, 'rngs': rngs}
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
