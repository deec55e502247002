"""Painting the holes of a batch with a trained model."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from exgan_jax.config import Config
from exgan_jax.models import masks
from exgan_jax.models.inputs import (
  REFERENCE,
  Batch,
  generator_input,
  make_scene,
  to_float,
  whole,
)
from exgan_jax.models.networks import Model, make_generator
from exgan_jax.models.transfer import Fields


def make_paint_step(config: Config) -> Callable[[Model, Batch], jax.Array]:
  """Returns the function from a model and a batch to painted pictures.

  The result is float32 [b, h, w, 3] in [0, 1] and equals the input outside the
  hole. If the batch has several references, the code model averages their
  codes; other models paint once per reference and average the results. The
  compressor reconstructs the eye crops.
  """
  generator = make_generator(config)
  side = masks.eye_side(config.resolution)

  def paint_step(model: Model, batch: Batch) -> jax.Array:
    several = {name: batch[name] for name in REFERENCE if name in batch}
    if config.exemplar == 'image' and several['reference'].ndim == 5:
      passes = jax.vmap(
        lambda reference: paint_step(model, batch | reference), in_axes=1
      )
      return jnp.mean(passes(several), axis=0)
    scene = make_scene(config, batch, model.encoder)
    painted = generator(model.generator, *generator_input(config, scene))
    if scene.band:
      painted, _ = painted
    image = to_float(batch['image'])
    painted = masks.composite(
      image,
      whole(image, scene, jnp.clip(painted, -1.0, 1.0)),
      masks.hole_masks(batch['eyes'], batch['boxes'], config.resolution),
    )
    return (painted + 1.0) / 2.0

  def draw_step(model: Model, batch: Batch) -> jax.Array:
    image = to_float(batch['image'])
    crops = masks.eye_crops(image, batch['eyes'], side)
    drawn = generator(model.generator, crops)
    return (masks.paste_crops(image, batch['eyes'], drawn) + 1.0) / 2.0

  return draw_step if config.preset == 'compressor' else paint_step


def make_fields_step(
  config: Config,
) -> Callable[[Model, Batch], tuple[Fields, jax.Array]]:
  """Returns the function from a model and a batch to the transfer's fields.

  It also returns the first row of each band, int32 [b]. The batch may describe
  the holes in the format of `augment`.
  """
  generator = make_generator(config)

  def fields_step(model: Model, batch: Batch) -> tuple[Fields, jax.Array]:
    scene = make_scene(config, batch, model.encoder)
    assert scene.band is not None, 'only the transfer model has fields'
    _, fields = generator(model.generator, scene.band.inputs)
    return fields, scene.band.top

  return fields_step
