"""A batch as the networks see it, made on the device.

Here is all that the models differ in: what of the exemplar reaches the
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
  'reference', 'reference_eyes', 'reference_corners', 'reference_boxes',
)  # fmt: skip


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scene:
  """Pictures to paint, and what the networks know of the exemplar.

  For the transfer model all of it is about a band of rows around the eyes.

  Attributes:
    image: float32 [b, h, w, 3] in [-1, 1], the ground truth.
    mask: float32 [b, h, w, 1], 1 in the hole.
    weight: float32 [b, h, w, 1], what the error of each pixel counts: 0 out of
      the hole.
    eyes: float32 [b, 2, 2], centres as (x, y) in pixels.
    exemplar: float32 [b, h, w, 4], the reference and the mask of its eyes, or
      the aligned reference and the hole mask for the transfer model;
      [b, h, w, 0] for a model that is not shown it.
    code: float32 [b, code], the exemplar's code; None for models without.
    transfer: what the transfer model paints from; None for the others.
    corners: float32 [b, 4, 2], true eye corners of pictures and references, for
      the transfer model's loss; else None.
    reference_corners: likewise.
    top: int32 [b], the first row of the band in its picture.
  """

  image: jax.Array
  mask: jax.Array
  weight: jax.Array
  eyes: jax.Array
  exemplar: jax.Array
  code: jax.Array | None = None
  transfer: TransferInput | None = None
  corners: jax.Array | None = None
  reference_corners: jax.Array | None = None
  top: jax.Array | None = None


def to_float(image: jax.Array) -> jax.Array:
  """Values of any shape in [0, 255] to float32 in [-1, 1]."""
  return image.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(image: jax.Array) -> jax.Array:
  """Floats of any shape in [0, 1] to uint8, rounded and clipped."""
  return jnp.round(jnp.clip(image, 0.0, 1.0) * 255.0).astype(jnp.uint8)


def make_scene(config: Config, batch: Batch, encoder: Params) -> Scene:
  """Normalises a batch, as the input pipeline makes it, and marks its holes.

  Args:
    config: of the run.
    batch: `image`, `reference` and the places of their eyes; the reference may
      be missing for a model that sees nothing of it. The code model takes
      several references, in an axis after the first. Of the transfer model it
      may be what `augment` returns.
    encoder: parameters of the code model's eye encoder; unused by the others.
  """
  if config.preset == 'transfer':
    return _make_band(config, batch)
  exemplar = jnp.zeros((*batch['image'].shape[:-1], 0), jnp.float32)
  code = None
  if config.exemplar != 'none':
    reference, eyes = to_float(batch['reference']), batch['reference_eyes']
  if config.exemplar == 'image':
    reference_mask = masks.hole_masks(
      eyes, batch['reference_boxes'], config.resolution
    )
    exemplar = jnp.concatenate([reference, reference_mask], axis=-1)
  elif config.exemplar == 'code':
    code = _mean_code(config, encoder, reference, eyes)
  mask = masks.hole_masks(batch['eyes'], batch['boxes'], config.resolution)
  return Scene(
    image=to_float(batch['image']),
    mask=mask,
    weight=_weight(config, mask, batch['eyes']),
    eyes=batch['eyes'],
    exemplar=exemplar,
    code=code,
  )


def _weight(config: Config, mask: jax.Array, eyes: jax.Array) -> jax.Array:
  near = masks.nearness(eyes, config.resolution)
  return mask * (1.0 + config.eye_weight * near)


def _make_band(config: Config, batch: Batch) -> Scene:
  side = config.resolution
  eyes = batch['eyes']
  corners, reference_corners = eye_corners(batch)
  misplaced = batch.get('misplaced', jnp.zeros_like(corners))
  found = corners + misplaced
  # What hides the eyes is where they are thought to be.
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
  rows = functools.partial(_rows, top, side // 2)
  down = jnp.stack([jnp.zeros_like(middle), top.astype(jnp.float32)], axis=-1)
  transfer = TransferInput(
    image=to_float(rows(batch['image'])),
    mask=rows(mask),
    near=rows(near),
    reference=to_float(batch['reference']),
    matrix=warp.similarity(found - down[:, None], reference_corners),
    trusted=batch.get('trusted', jnp.ones_like(middle)),
  )
  aligned = warp.sample(transfer.reference, positions(transfer))
  return Scene(
    image=transfer.image,
    mask=transfer.mask,
    weight=rows(_weight(config, mask, eyes)),
    eyes=eyes - down[:, None],
    exemplar=jnp.concatenate([aligned, transfer.mask], axis=-1),
    transfer=transfer,
    corners=corners - down[:, None],
    reference_corners=reference_corners,
    top=top,
  )


def eye_corners(
  batch: Batch,
) -> tuple[Float[Array, 'b 4 2'], Float[Array, 'b 4 2']]:
  """The eye corners of pictures and references, as (x, y) in pixels.

  Where those of either are not known both are guessed from the eyes' centres:
  points of two kinds would not match.
  """
  corners, others = batch['corners'], batch['reference_corners']
  known = warp.known_corners(corners) * warp.known_corners(others) > 0
  return (
    jnp.where(known, corners, warp.corners_of_eyes(batch['eyes'])),
    jnp.where(known, others, warp.corners_of_eyes(batch['reference_eyes'])),
  )


def _rows(top: jax.Array, count: int, image: jax.Array) -> jax.Array:
  """So many rows of each picture, from `top` on."""
  cut = functools.partial(jax.lax.dynamic_slice_in_dim, slice_size=count)
  return jax.vmap(lambda picture, start: cut(picture, start))(image, top)


def whole(
  image: Float[Array, 'b s s c'], scene: Scene, band: Float[Array, 'b h w c']
) -> Float[Array, 'b s s c']:
  """Puts a scene's pictures back to where they came from.

  Args:
    image: the pictures that the scene was made of.
    scene: of which `band` is the painted picture.
    band: pictures of the scene's size. Beyond them their edges are repeated.
  """
  if scene.top is None:
    return band
  index = jnp.arange(image.shape[1])[None] - scene.top[:, None]
  index = jnp.clip(index, 0, band.shape[1] - 1)
  return jnp.take_along_axis(band, index[:, :, None, None], axis=1)


def eye_codes(
  config: Config,
  encoder: Params,
  image: Float[Array, 'b h w 3'],
  eyes: Float[Array, 'b 2 2'],
) -> Float[Array, 'b codes']:
  """The codes of both eyes together, left and right, of pictures in [-1, 1]."""
  crops = masks.eye_crops(image, eyes, masks.eye_side(config.resolution))
  codes = make_encoder(config)(encoder, crops)
  return codes.reshape(codes.shape[0], -1)


def _mean_code(
  config: Config, encoder: Params, reference: jax.Array, eyes: jax.Array
) -> jax.Array:
  if reference.ndim == 4:
    return eye_codes(config, encoder, reference, eyes)
  each = jax.vmap(functools.partial(eye_codes, config, encoder), in_axes=1)
  return jnp.mean(each(reference, eyes), axis=0)


def generator_input(config: Config, scene: Scene) -> tuple:
  """The arguments of the generator; nothing in them comes from under the hole.

  Returns:
    Holed image, hole mask, exemplar: float32 [b, h, w, 4 or 8]; and for the
    code model the code and where the eyes are. Or what the transfer model
    takes, which hides the hole itself.
  """
  if config.preset == 'transfer':
    return (scene.transfer,)
  holed = scene.image * (1.0 - scene.mask)
  picture = jnp.concatenate([holed, scene.mask, scene.exemplar], axis=-1)
  if config.exemplar == 'code':
    return picture, (scene.code, scene.eyes)
  return (picture,)


def discriminator_input(
  config: Config, scene: Scene, encoder: Params, image: jax.Array
) -> tuple[jax.Array, ...]:
  """The arguments of the discriminator for an image.

  Args:
    config: of the run.
    scene: whose eyes and exemplar.
    encoder: parameters of the code model's eye encoder.
    image: float32 [b, h, w, 3] in [-1, 1], real or painted.

  Returns:
    float32 [b, 3 or 7], the image and the exemplar; float32
    [b, 2, side, side, 3], a crop an eye; and float32 [b, 0 or codes], the
    exemplar's code and the image's own. For the transfer model crops of the
    first alone, float32 [b, 2, side, side, 7].
  """
  picture = jnp.concatenate([image, scene.exemplar], axis=-1)
  side = masks.crop_side(config.resolution)
  if config.preset == 'transfer':
    return (masks.eye_crops(picture, scene.eyes, side),)
  crops = masks.eye_crops(image, scene.eyes, side)
  codes = jnp.zeros((image.shape[0], 0), jnp.float32)
  if config.exemplar == 'code':
    own = eye_codes(config, encoder, image, scene.eyes)
    codes = jnp.concatenate([scene.code, own], axis=-1)
  return picture, crops, codes
