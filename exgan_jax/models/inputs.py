"""Batches as the networks see them, made on the device.

The presets differ here: in how much of the reference image reaches the
generator and the discriminator.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from exgan_jax.config import Config
from exgan_jax.models import masks, warp
from exgan_jax.models.networks import Params, make_encoder
from exgan_jax.models.transfer import TransferInput, positions

Batch = dict[str, jax.Array]

# The arrays of a batch that describe the reference.
REFERENCE = (
  'reference',
  *('reference_eyes', 'reference_corners', 'reference_boxes'),
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Band:
  """The rows around the eyes, which the transfer model works on.

  Attributes:
    inputs: what the network paints from.
    corners: float32 [b, 4, 2], true eye corners in pixels of the band.
    reference_corners: float32 [b, 4, 2], those of the reference image.
    top: int32 [b], row of the picture where the band starts.
  """

  inputs: TransferInput
  corners: jax.Array
  reference_corners: jax.Array
  top: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scene:
  """Pictures to paint and the model's view of the reference image.

  For the transfer model h covers only the rows around the eyes.

  Attributes:
    image: float32 [b, h, w, 3] in [-1, 1], the ground truth.
    mask: float32 [b, h, w, 1], 1 in the hole.
    weight: float32 [b, h, w, 1], weight of each pixel's error, 0 outside the
      hole.
    eyes: float32 [b, 2, 2], eye centers (x, y) in pixels.
    exemplar: float32 [b, h, w, 4], the reference and the mask of its eyes, or
      for the transfer model the aligned reference and the hole mask. It has no
      channels if the preset does not use the reference image.
    code: float32 [b, codes], the code of the reference; b x 0 if unused.
    band: set for the transfer model only.
  """

  image: jax.Array
  mask: jax.Array
  weight: jax.Array
  eyes: jax.Array
  exemplar: jax.Array
  code: jax.Array
  band: Band | None = None


def to_float(image: jax.Array) -> jax.Array:
  """Maps [0, 255] to float32 in [-1, 1]."""
  return image.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(image: jax.Array) -> jax.Array:
  """Maps floats in [0, 1] to uint8, rounded and clipped."""
  return jnp.round(jnp.clip(image, 0.0, 1.0) * 255.0).astype(jnp.uint8)


def make_scene(config: Config, batch: Batch, encoder: Params) -> Scene:
  """Normalizes a batch and builds its hole masks.

  Reference arrays may be missing if the preset does not use them. For the code
  model they may hold several references along the second axis. For the transfer
  model the batch may come from `augment`. The encoder is the code model's.
  """
  if config.preset == 'transfer':
    return _band_scene(config, batch)
  image, eyes = to_float(batch['image']), batch['eyes']
  exemplar = jnp.zeros((*image.shape[:-1], 0))
  code = jnp.zeros((len(image), 0))
  if config.exemplar == 'image':
    reference_mask = masks.hole_masks(
      batch['reference_eyes'], batch['reference_boxes'], config.resolution
    )
    exemplar = jnp.concatenate(
      [to_float(batch['reference']), reference_mask], axis=-1
    )
  elif config.exemplar == 'code':
    code = _mean_code(config, encoder, batch)
  mask = masks.hole_masks(eyes, batch['boxes'], config.resolution)
  weight = _weight(config, mask, eyes)
  return Scene(image, mask, weight, eyes, exemplar, code)


def _weight(config: Config, mask: jax.Array, eyes: jax.Array) -> jax.Array:
  near = masks.nearness(eyes, config.resolution)
  return mask * (1.0 + config.eye_weight * near)


def _band_scene(config: Config, batch: Batch) -> Scene:
  side, eyes = config.resolution, batch['eyes']
  corners, reference_corners = eye_corners(batch)
  misplaced = batch.get('misplaced', jnp.zeros_like(corners))
  found = corners + misplaced
  # The hole is centered on the detected eyes, not on the true ones.
  shift = (misplaced[:, ::2] + misplaced[:, 1::2]) / 2
  mask = masks.hole_masks(eyes + shift, batch['boxes'], side)
  if 'lids' in batch:
    each = masks.lid_masks(found, batch['lids'], side)
    each = each * batch['painted'][:, :, None, None].astype(jnp.float32)
    lids = jnp.max(each, axis=1)[..., None]
    is_lid = batch['lids'][:, 0, None, None, None] > 0
    mask = jnp.where(is_lid, lids, mask)
  near = masks.nearness(eyes + shift, side)
  middle = jnp.mean(eyes[:, :, 1] + shift[:, :, 1], axis=1)
  top = jnp.clip(jnp.round(middle - side / 4), 0, side // 2).astype(jnp.int32)
  cut = functools.partial(
    jax.lax.dynamic_slice_in_dim, slice_size=side // 2, axis=0
  )

  def rows(image: jax.Array) -> jax.Array:
    return jax.vmap(cut)(image, top)

  down = jnp.stack([jnp.zeros_like(middle), top.astype(jnp.float32)], axis=-1)
  inputs = TransferInput(
    image=to_float(rows(batch['image'])),
    mask=rows(mask),
    near=rows(near),
    reference=to_float(batch['reference']),
    matrix=warp.similarity(found - down[:, None], reference_corners),
    trusted=batch.get('trusted', jnp.ones_like(middle)),
  )
  aligned = warp.sample(inputs.reference, positions(inputs))
  return Scene(
    image=inputs.image,
    mask=inputs.mask,
    weight=rows(_weight(config, mask, eyes)),
    eyes=eyes - down[:, None],
    exemplar=jnp.concatenate([aligned, inputs.mask], axis=-1),
    code=jnp.zeros((len(eyes), 0)),
    band=Band(inputs, corners - down[:, None], reference_corners, top),
  )


def eye_corners(
  batch: Batch,
) -> tuple[Float[Array, 'b 4 2'], Float[Array, 'b 4 2']]:
  """Returns the eye corners of pictures and references, (x, y) in pixels.

  If those of either are unknown, both are estimated from the eye centers:
  detected and estimated corners would not match.
  """
  corners, others = batch['corners'], batch['reference_corners']
  known = warp.known_corners(corners) * warp.known_corners(others) > 0
  return (
    jnp.where(known, corners, warp.corners_of_eyes(batch['eyes'])),
    jnp.where(known, others, warp.corners_of_eyes(batch['reference_eyes'])),
  )


def whole(
  image: Float[Array, 'b s s c'], scene: Scene, band: Float[Array, 'b h w c']
) -> Float[Array, 'b s s c']:
  """Extends painted pictures of a scene to the size of the original pictures.

  The edge rows of the band are repeated.
  """
  if scene.band is None:
    return band
  index = jnp.arange(image.shape[1])[None] - scene.band.top[:, None]
  index = jnp.clip(index, 0, band.shape[1] - 1)
  return jnp.take_along_axis(band, index[:, :, None, None], axis=1)


def eye_codes(
  config: Config,
  encoder: Params,
  image: Float[Array, 'b h w 3'],
  eyes: Float[Array, 'b 2 2'],
) -> Float[Array, 'b codes']:
  """Encodes the left and the right eye of pictures in [-1, 1]."""
  crops = masks.eye_crops(image, eyes, masks.eye_side(config.resolution))
  codes = make_encoder(config)(encoder, crops)
  return codes.reshape(codes.shape[0], -1)


def _mean_code(config: Config, encoder: Params, batch: Batch) -> jax.Array:
  reference, eyes = to_float(batch['reference']), batch['reference_eyes']
  encode = functools.partial(eye_codes, config, encoder)
  if reference.ndim == 4:
    return encode(reference, eyes)
  return jnp.mean(jax.vmap(encode, in_axes=1)(reference, eyes), axis=0)


def generator_input(config: Config, scene: Scene) -> tuple:
  """Returns the arguments of the generator.

  Nothing in them comes from under the hole.

  Returns:
    The transfer model's input; for other models the holed image, hole mask and
    exemplar, float32 [b, h, w, 4 or 8], and for the code model also the code
    and the eye centers.
  """
  if scene.band:
    return (scene.band.inputs,)
  holed = scene.image * (1.0 - scene.mask)
  picture = jnp.concatenate([holed, scene.mask, scene.exemplar], axis=-1)
  if config.exemplar == 'code':
    return picture, (scene.code, scene.eyes)
  return (picture,)


def discriminator_input(
  config: Config, scene: Scene, encoder: Params, image: jax.Array
) -> tuple[jax.Array, ...]:
  """Returns the arguments of the discriminator for a real or painted image.

  The image is float32 [b, h, w, 3] in [-1, 1].

  Returns:
    Image and exemplar, float32 [b, h, w, 3 or 7]; one crop per eye, float32
    [b, 2, side, side, 3]; and the codes of the exemplar and of the image,
    float32 [b, 0 or codes]. For the transfer model only crops of the first,
    float32 [b, 2, side, side, 7].
  """
  picture = jnp.concatenate([image, scene.exemplar], axis=-1)
  side = masks.crop_side(config.resolution)
  if config.preset == 'transfer':
    return (masks.eye_crops(picture, scene.eyes, side),)
  crops = masks.eye_crops(image, scene.eyes, side)
  codes = scene.code
  if config.exemplar == 'code':
    own = eye_codes(config, encoder, image, scene.eyes)
    codes = jnp.concatenate([codes, own], axis=-1)
  return picture, crops, codes
