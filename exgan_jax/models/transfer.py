"""The transfer network: how to move, light and blend a reference's own eyes.

It predicts smooth or small fields; `compose` applies them to the reference's
pixels. With all fields at zero that is the closed form `reference_clone`: the
reference aligned by its eye corners, and shaded so that it meets the picture
around the hole. Smooth fields can be enlarged, so a network of 128 pixels
paints eyes of any resolution.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from exgan_jax.models import shading, warp
from exgan_jax.models.layers import Conv

# Pixels of a picture that become one cell of the network's features.
CELL = 4
# Side of the low band's Gaussian and bound of the flow, per side of the
# picture.
SIGMA, LARGEST_FLOW = 5 / 128, 12 / 128
# Logarithm of the largest factor on the high band.
_CONTRAST = 0.5
# Where the blend begins: 0.95 of the reference.
_BLEND = 3.0
# Channels of what the network sees.
_SEEN = 13


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TransferInput:
  """The band around the eyes, and the reference to paint it from.

  Attributes:
    image: float32 [b, h, w, 3] in [-1, 1], rows of a square picture whose side
      is w; the hole is not hidden.
    mask: float32 [b, h, w, 1], 1 in the hole.
    near: float32 [b, h, w, 1], nearness to an eye.
    reference: float32 [b, s, s, 3] in [-1, 1], the whole square.
    matrix: float32 [b, 2, 3], from pixels of the band to the reference's.
    trusted: float32 [b], 1 where the eye corners that it was computed from can
      be trusted, 0 where they are a guess.
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
  """What the network predicts, all of it zero for the closed form.

  Attributes:
    flow: float32 [b, h/4, w/4, 2], displacement (x, y) in pixels of the band
      of where a pixel's colour is taken from.
    brightness: float32 [b, h/8, w/8, 1], added to the low band.
    colour: float32 [b, h/16, w/16, 3], likewise; so coarse that it cannot give
      an iris another colour than the skin around it.
    contrast: float32 [b, h/8, w/8, 1], logarithm of the factor on the high
      band.
    blend: float32 [b, h, w, 1], the share of the reference, in [0, 1].
    paint: float32 [b, h, w, 3], added to the low band where the reference is
      not used.
  """

  flow: jax.Array
  brightness: jax.Array
  colour: jax.Array
  contrast: jax.Array
  blend: jax.Array
  paint: jax.Array


@dataclasses.dataclass(frozen=True)
class TransferConfig:
  """Shape of the network: channels of its features and their type."""

  width: int
  dtype: jnp.dtype = jnp.float32


class TransferNetwork(nnx.Module):
  """Predicts the fields from the holed band and the aligned reference.

  Called with a `TransferInput` whose sides are multiples of 16. Returns the
  painted band, float32 [b, h, w, 3], of which only the hole is meant to be
  used, and the fields.
  """

  def __init__(self, config: TransferConfig, *, rngs: nnx.Rngs):
    c = config.width
    self.dtype = config.dtype
    layer: dict[str, Any] = {'dtype': config.dtype, 'rngs': rngs}
    self.first = Conv(_SEEN * CELL**2, c, **layer)
    self.blocks = nnx.List(
      [
        nnx.List([Conv(c, c, dilation=d, **layer), Conv(c, c, **layer)])
        for d in (1, 2, 4, 2, 1)
      ]
    )
    self.fine = Conv(c, c, **layer)
    self.flow = Head(c, 2)
    self.low = Head(c, 2)
    self.colour = Head(c, 3)
    self.full = Head(c, 4 * CELL**2)

  def __call__(
    self, inputs: TransferInput
  ) -> tuple[Float[Array, 'b h w 3'], Fields]:
    moved = warp.sample(inputs.reference, positions(inputs))
    x = _folded(_seen(inputs, moved)).astype(self.dtype)
    x = self.first(x)
    for first, second in self.blocks:
      x = x + second(first(x))
    side = inputs.image.shape[2]
    flow = LARGEST_FLOW * side * jnp.tanh(self.flow(x))
    low = _halved(self.low(x))
    full = _unfolded(self.full(self.fine(x)))
    fields = Fields(
      flow=flow,
      brightness=low[..., :1],
      colour=_halved(_halved(self.colour(x))),
      contrast=_CONTRAST * jnp.tanh(low[..., 1:]),
      blend=jax.nn.sigmoid(full[..., :1] + _BLEND),
      paint=jnp.tanh(full[..., 1:]),
    )
    return compose(inputs, fields), fields


class Head(nnx.Module):
  """A linear map of every cell's features, zero before training."""

  def __init__(self, in_features: int, out_features: int):
    self.weights = nnx.Param(jnp.zeros((in_features, out_features)))
    self.bias = nnx.Param(jnp.zeros((out_features,)))

  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w n']:
    x = x.astype(jnp.float32)
    found = jnp.einsum('bhwc,cn->bhwn', x, self.weights[...])
    return found + self.bias[...][None, None, None]


def positions(inputs: TransferInput) -> Float[Array, 'b h w 2']:
  """Where in the reference each pixel of the band lies by the eye corners."""
  _, height, width, _ = inputs.image.shape
  return warp.apply(
    inputs.matrix,
    jnp.broadcast_to(
      warp.grid(height, width)[None], (*inputs.image.shape[:3], 2)
    ),
  )


def compose(inputs: TransferInput, fields: Fields) -> Float[Array, 'b h w 3']:
  """Applies fields to the reference's pixels; values may leave [-1, 1]."""
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
  """The aligned reference in the light of the picture around the hole."""
  moved = warp.sample(inputs.reference, positions(inputs))
  return moved + ring_shading(inputs, moved)


def ring_shading(
  inputs: TransferInput, moved: Float[Array, 'b h w 3']
) -> Float[Array, 'b h w 3']:
  """What lights the reference as the picture around the hole is lit.

  The difference of the two outside the hole, continued harmonically into it,
  at half the resolution. Nothing is learnt through it.
  """
  moved = jax.lax.stop_gradient(moved)
  known = 1.0 - inputs.mask
  weight = _halved(known)
  difference = _halved((inputs.image - moved) * known)
  difference = difference / jnp.maximum(weight, 1e-3)
  filled = shading.fill_holes(difference, weight)
  return jax.image.resize(filled, moved.shape, 'linear')


def _seen(inputs: TransferInput, moved: jax.Array) -> jax.Array:
  """What the network sees; nothing of it comes from under the hole."""
  lit = moved + ring_shading(inputs, moved)
  side = inputs.reference.shape[1]
  there = warp.inside(positions(inputs), side, side)
  trusted = jnp.broadcast_to(inputs.trusted[:, None, None, None], there.shape)
  holed = inputs.image * (1.0 - inputs.mask)
  return jnp.concatenate(
    [holed, inputs.mask, inputs.near, there, trusted, moved, lit], axis=-1
  )


def _folded(x: Float[Array, 'b h w c']) -> jax.Array:
  b, h, w, c = x.shape
  blocks = x.reshape(b, h // CELL, CELL, w // CELL, CELL, c)
  return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(
    b, h // CELL, w // CELL, CELL * CELL * c
  )


def _unfolded(x: jax.Array) -> jax.Array:
  b, h, w, c = x.shape
  blocks = x.reshape(b, h, w, CELL, CELL, c // CELL**2)
  return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(
    b, h * CELL, w * CELL, c // CELL**2
  )


def _halved(x: jax.Array) -> jax.Array:
  b, h, w, c = x.shape
  return jnp.mean(x.reshape(b, h // 2, 2, w // 2, 2, c), axis=(2, 4))


def regularization(
  inputs: TransferInput,
  fields: Fields,
  corners: Float[Array, 'b 4 2'],
  reference_corners: Float[Array, 'b 4 2'],
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Terms that keep fields smooth, detail the reference's, and eyes in place.

  Args:
    inputs: what was painted.
    fields: that the network predicted.
    corners: true eye corners of the picture in pixels of the band.
    reference_corners: likewise of the reference, in its pixels.

  Returns:
    The sum to add to the loss, and its parts.
  """
  side = inputs.image.shape[2]
  flow = fields.flow / (LARGEST_FLOW * side)
  # A flow costs a little even where it is constant: eyes stay where their
  # corners are unless there is something to gain.
  smooth = 0.02 * jnp.mean(jnp.abs(flow)) + 0.02 * variation(flow)
  smooth += 0.05 * (
    variation(fields.brightness)
    + variation(fields.colour)
    + variation(fields.contrast)
  )
  painted = jnp.sum((1.0 - fields.blend) * inputs.mask) / jnp.maximum(
    jnp.sum(inputs.mask), 1.0
  )
  # In cells, whose first one has its centre at (CELL - 1) / 2 pixels.
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
  """Mean absolute difference of neighbours, along both axes.

  An axis without neighbours counts as 0.
  """
  down = jnp.abs(field[:, 1:] - field[:, :-1])
  across = jnp.abs(field[:, :, 1:] - field[:, :, :-1])
  return jnp.sum(down) / max(down.size, 1) + jnp.sum(across) / max(
    across.size, 1
  )
