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

from exgan_jax import masks, warp
from exgan_jax.config import Config
from exgan_jax.state import Params, make_encoder

Batch = dict[str, jax.Array]

Told = jax.Array | tuple[jax.Array, jax.Array] | None

# Of a batch, what tells whose eyes to paint.
REFERENCE = (
  'reference', 'reference_eyes', 'reference_corners', 'reference_boxes',
)  # fmt: skip


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scene:
  """Pictures to paint, and whose eyes.

  Attributes:
    image: float32 [b, h, w, 3] in [-1, 1], the ground truth.
    mask: float32 [b, h, w, 1], 1 in the hole.
    weight: float32 [b, h, w, 1], what the error of each pixel counts: 0 out of
      the hole.
    eyes: float32 [b, 2, 2], centres as (x, y) in pixels.
    exemplar: float32 [b, h, w, 4], the reference and the mask of its eyes;
      [b, h, w, 0] for a model that is not shown it.
    told: what enters the generator's bottleneck: the exemplar's code, float32
      [b, code], or crops of its eyes, float32 [b, 2, side, side, 3]; or None.
  """

  image: jax.Array
  mask: jax.Array
  weight: jax.Array
  eyes: jax.Array
  exemplar: jax.Array
  told: jax.Array | None


def to_float(image: jax.Array) -> jax.Array:
  """uint8 of any shape to float32 in [-1, 1]."""
  return image.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(image: jax.Array) -> jax.Array:
  """Floats of any shape in [0, 1] to uint8, rounded and clipped."""
  return jnp.round(jnp.clip(image, 0.0, 1.0) * 255.0).astype(jnp.uint8)


def make_scene(config: Config, batch: Batch, encoder: Params) -> Scene:
  """Normalises a batch, as the input pipeline makes it, and marks its holes.

  Args:
    config: of the run.
    batch: `image`, `reference` and the places of their eyes; the reference may
      be missing for a model that is told nothing of it. The code model takes
      several references, in an axis after the first.
    encoder: parameters of the code model's eye encoder; unused by the others.
  """
  exemplar = jnp.zeros((*batch['image'].shape[:-1], 0), jnp.float32)
  told = None
  if config.exemplar != 'none':
    reference, eyes = to_float(batch['reference']), batch['reference_eyes']
  if config.exemplar == 'image':
    reference_mask = masks.hole_masks(
      eyes, batch['reference_boxes'], config.resolution
    )
    exemplar = jnp.concatenate([reference, reference_mask], axis=-1)
    if config.warp_reference:
      exemplar = warp.onto_eyes(exemplar, eyes, batch['eyes'])
    if config.injection != 'none':
      side = masks.eye_side(config.resolution)
      told = masks.eye_crops(reference, eyes, side)
  elif config.exemplar == 'code':
    told = _mean_code(config, encoder, reference, eyes)
  mask = masks.hole_masks(batch['eyes'], batch['boxes'], config.resolution)
  near = masks.nearness(batch['eyes'], config.resolution)
  return Scene(
    image=to_float(batch['image']),
    mask=mask,
    weight=mask * (1.0 + config.eye_weight * near),
    eyes=batch['eyes'],
    exemplar=exemplar,
    told=told,
  )


def eye_codes(
  config: Config,
  encoder: Params,
  image: Float[Array, 'b h w 3'],
  eyes: Float[Array, 'b 2 2'],
) -> Float[Array, 'b codes']:
  """The codes of both eyes together, left and right, of pictures in [-1, 1]."""
  crops = masks.eye_crops(image, eyes, masks.eye_side(config.resolution))
  codes = make_encoder(config)(encoder, [], crops)
  return codes.reshape(codes.shape[0], -1)


def _mean_code(
  config: Config, encoder: Params, reference: jax.Array, eyes: jax.Array
) -> jax.Array:
  if reference.ndim == 4:
    return eye_codes(config, encoder, reference, eyes)
  each = jax.vmap(functools.partial(eye_codes, config, encoder), in_axes=1)
  return jnp.mean(each(reference, eyes), axis=0)


def generator_input(config: Config, scene: Scene) -> tuple[jax.Array, Told]:
  """What the generator sees.

  Returns:
    Holed image, hole mask, exemplar: float32 [b, h, w, 4 or 8]; and what it
    is told besides: a code and where the eyes are, or crops, or nothing.
  """
  holed = scene.image * (1.0 - scene.mask)
  picture = jnp.concatenate([holed, scene.mask, scene.exemplar], axis=-1)
  if config.exemplar == 'code':
    return picture, (scene.told, scene.eyes)
  return picture, scene.told


def discriminator_input(
  config: Config, scene: Scene, encoder: Params, image: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """What the discriminator sees of an image.

  Args:
    config: of the run.
    scene: whose eyes and exemplar.
    encoder: parameters of the code model's eye encoder.
    image: float32 [b, h, w, 3] in [-1, 1], real or painted.

  Returns:
    float32 [b, h, w, 3 or 7], the image and the exemplar; float32
    [b, 2, side, side, 3], a crop an eye; and float32 [b, 0 or codes], the
    exemplar's code and the image's own.
  """
  picture = jnp.concatenate([image, scene.exemplar], axis=-1)
  crops = masks.eye_crops(image, scene.eyes, masks.crop_side(config.resolution))
  codes = jnp.zeros((image.shape[0], 0), jnp.float32)
  if config.exemplar == 'code':
    own = eye_codes(config, encoder, image, scene.eyes)
    codes = jnp.concatenate([scene.told, own], axis=-1)
  return picture, crops, codes
