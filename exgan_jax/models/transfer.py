"""The transfer network: moves, relights and blends the eyes of a reference.

It predicts fields that `compose` applies to the reference's pixels. With all
fields zero the result is `closed_form`: the reference aligned by its eye
corners and shaded to match the picture around the hole. The fields are smooth
and can be enlarged, so a network for 128 pixels paints eyes of any resolution.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from exgan_jax.models import shading, warp
from exgan_jax.models.cpu_conv import fold
from exgan_jax.models.layers import Conv

# Side in pixels of one cell of the network's features.
CELL = 4
# Standard deviation of the low band's Gaussian and bound of the flow, relative
# to the picture's side.
SIGMA, LARGEST_FLOW = 5 / 128, 12 / 128
# Logarithm of the largest factor on the high band.
_CONTRAST = 0.5
# Initial logit of the blend: 0.95 of the reference.
_BLEND = 3.0
# Input channels of the network.
_CHANNELS = 13


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TransferInput:
  """The rows around the eyes and the reference to paint them from.

  Attributes:
    image: float32 [b, h, w, 3] in [-1, 1], rows of a square picture of side w;
      the hole is not masked out.
    mask: float32 [b, h, w, 1], 1 in the hole.
    near: float32 [b, h, w, 1], nearness to an eye.
    reference: float32 [b, s, s, 3] in [-1, 1].
    matrix: float32 [b, 2, 3], from pixels of the band to the reference's.
    trusted: float32 [b], 1 if the eye corners behind the matrix were detected,
      0 if they are a guess.
  """

  image: jax.Array
  mask: jax.Array
  near: jax.Array
  reference: jax.Array
  matrix: jax.Array
  trusted: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Fields:
  """The fields that the network predicts.

  Attributes:
    flow: float32 [b, h/4, w/4, 2], displacement (x, y) of the sampling
      position, in pixels of the band.
    brightness: float32 [b, h/8, w/8, 1], added to the low band.
    colour: float32 [b, h/16, w/16, 3], added to the low band; too coarse to
      change the color of an iris but not that of the skin around it.
    contrast: float32 [b, h/8, w/8, 1], log factor of the high band.
    blend: float32 [b, h, w, 1], share of the reference, in [0, 1].
    paint: float32 [b, h, w, 3], added to the low band where the reference is
      not used.
  """

  flow: jax.Array
  brightness: jax.Array
  colour: jax.Array
  contrast: jax.Array
  blend: jax.Array
  paint: jax.Array


class TransferNetwork(nnx.Module):
  """Predicts the fields from the holed band and the aligned reference.

  Called with a `TransferInput` whose sides are multiples of 16. Returns the
  painted band, float32 [b, h, w, 3], to be used in the hole only, and the
  fields.
  """

  def __init__(self, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
    c = width
    self.dtype = dtype
    layer: dict[str, Any] = {'dtype': dtype, 'rngs': rngs}
    self.first = Conv(_CHANNELS * CELL**2, c, **layer)
    self.blocks = nnx.List(
      [
        nnx.List([Conv(c, c, dilation=d, **layer), Conv(c, c, **layer)])
        for d in (1, 2, 4, 2, 1)
      ]
    )
    self.fine = Conv(c, c, **layer)
    self.flow = Head(c, 2)
    self.low = Head(c, 2)
    self.colour = Head(c, 3)  # The spelling of saved parameters.
    self.full = Head(c, 4 * CELL**2)

  def __call__(
    self, inputs: TransferInput
  ) -> tuple[Float[Array, 'b h w 3'], Fields]:
    moved = warp.sample(inputs.reference, positions(inputs))
    x = fold(_features(inputs, moved), CELL).astype(self.dtype)
    x = self.first(x)
    for first, second in self.blocks:
      x = x + second(first(x))
    side = inputs.image.shape[2]
    flow = LARGEST_FLOW * side * jnp.tanh(self.flow(x))
    low = shading.halved(self.low(x))
    full = _unfolded(self.full(self.fine(x)))
    fields = Fields(
      flow=flow,
      brightness=low[..., :1],
      colour=shading.halved(shading.halved(self.colour(x))),
      contrast=_CONTRAST * jnp.tanh(low[..., 1:]),
      blend=jax.nn.sigmoid(full[..., :1] + _BLEND),
      paint=jnp.tanh(full[..., 1:]),
    )
    return compose(inputs, fields), fields


class Head(nnx.Module):
  """A linear layer per cell, initialized to zero."""

  def __init__(self, in_features: int, out_features: int):
    self.weights = nnx.Param(jnp.zeros((in_features, out_features)))
    self.bias = nnx.Param(jnp.zeros((out_features,)))

  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w n']:
    x = x.astype(jnp.float32)
    found = jnp.einsum('bhwc,cn->bhwn', x, self.weights[...])
    return found + self.bias[...][None, None, None]


def positions(inputs: TransferInput) -> Float[Array, 'b h w 2']:
  """Returns the position in the reference of each pixel of the band."""
  b, height, width, _ = inputs.image.shape
  grid = warp.grid(height, width)[None]
  return warp.apply(
    inputs.matrix, jnp.broadcast_to(grid, (b, height, width, 2))
  )


def compose(inputs: TransferInput, fields: Fields) -> Float[Array, 'b h w 3']:
  """Applies fields to the reference; values may be outside [-1, 1]."""
  b, height, width, _ = inputs.image.shape

  def enlarged(field: jax.Array) -> jax.Array:
    shape = (b, height, width, field.shape[-1])
    return jax.image.resize(field, shape, 'linear')

  grid = warp.grid(height, width)[None] + enlarged(fields.flow)
  moved = warp.sample(inputs.reference, warp.apply(inputs.matrix, grid))
  low = shading.blur(moved, SIGMA * width)
  high = moved - low
  lit = low + ring_shading(inputs, moved)
  lit = lit + enlarged(fields.brightness) + enlarged(fields.colour)
  kept = lit + jnp.exp(enlarged(fields.contrast)) * high
  return fields.blend * kept + (1.0 - fields.blend) * (lit + fields.paint)


def closed_form(inputs: TransferInput) -> Float[Array, 'b h w 3']:
  """Returns the aligned reference with the lighting of the picture."""
  moved = warp.sample(inputs.reference, positions(inputs))
  return moved + ring_shading(inputs, moved)


def ring_shading(
  inputs: TransferInput, moved: Float[Array, 'b h w 3']
) -> Float[Array, 'b h w 3']:
  """Returns what to add to the aligned reference to match the picture.

  It is their difference outside the hole, continued harmonically into it, at
  half the resolution. No gradients flow through it.
  """
  moved = jax.lax.stop_gradient(moved)
  known = 1.0 - inputs.mask
  weight = shading.halved(known)
  difference = shading.halved((inputs.image - moved) * known)
  difference = difference / jnp.maximum(weight, 1e-3)
  filled = shading.fill_holes(difference, weight)
  return jax.image.resize(filled, moved.shape, 'linear')


def _features(inputs: TransferInput, moved: jax.Array) -> jax.Array:
  """Returns the network's input; nothing comes from under the hole."""
  lit = moved + ring_shading(inputs, moved)
  side = inputs.reference.shape[1]
  there = warp.inside(positions(inputs), side, side)
  trusted = jnp.broadcast_to(inputs.trusted[:, None, None, None], there.shape)
  holed = inputs.image * (1.0 - inputs.mask)
  return jnp.concatenate(
    [holed, inputs.mask, inputs.near, there, trusted, moved, lit], axis=-1
  )


def _unfolded(x: jax.Array) -> jax.Array:
  """Inverts `fold`."""
  b, h, w, _ = x.shape
  blocks = x.reshape(b, h, w, CELL, CELL, -1).transpose(0, 1, 3, 2, 4, 5)
  return blocks.reshape(b, h * CELL, w * CELL, -1)


def regularization(
  inputs: TransferInput,
  fields: Fields,
  corners: Float[Array, 'b 4 2'],
  reference_corners: Float[Array, 'b 4 2'],
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Returns a loss that keeps fields smooth, detail, and eyes in place.

  The corners are the true ones, in pixels of the band and of the reference.

  Returns:
    The loss and its parts.
  """
  side = inputs.image.shape[2]
  flow = fields.flow / (LARGEST_FLOW * side)
  # Even a constant flow costs a little, so that eyes stay at their corners
  # unless moving them helps.
  smooth = 0.02 * jnp.mean(jnp.abs(flow)) + 0.02 * variation(flow)
  smooth += 0.05 * (
    variation(fields.brightness)
    + variation(fields.colour)
    + variation(fields.contrast)
  )
  painted = jnp.sum((1.0 - fields.blend) * inputs.mask) / jnp.maximum(
    jnp.sum(inputs.mask), 1.0
  )
  # From pixels to cells; the first cell's center is at (CELL - 1) / 2.
  at = (corners - (CELL - 1) / 2) / CELL
  flow = warp.sample(fields.flow, at[:, None])[:, 0]
  found = warp.apply(inputs.matrix, corners + flow)
  scale = jnp.sqrt(jnp.sum(inputs.matrix[:, 0, :2] ** 2, axis=-1))
  error = jnp.sqrt(jnp.sum((found - reference_corners) ** 2, axis=-1) + 1e-6)
  error = error / (jnp.maximum(scale, 1e-3)[:, None] * side)
  misplaced = jnp.mean(error)
  total = smooth + 0.05 * painted + 2.0 * misplaced
  return total, {
    'field_variation': smooth,
    'painted_fraction': painted,
    'corner_error': misplaced,
  }


def variation(field: Float[Array, 'b h w c']) -> Float[Array, '']:
  """Returns the mean absolute difference of neighbors, along both axes.

  An axis of length 1 counts as 0.
  """
  down = jnp.abs(field[:, 1:] - field[:, :-1])
  across = jnp.abs(field[:, :, 1:] - field[:, :, :-1])
  rows, columns = max(down.size, 1), max(across.size, 1)
  return jnp.sum(down) / rows + jnp.sum(across) / columns
