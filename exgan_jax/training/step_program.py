"""The compiled training step without data or trained models."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import Mesh

from exgan_jax.config import Config
from exgan_jax.data.train_batches import batch_shapes
from exgan_jax.runtime import sharding
from exgan_jax.training import state
from exgan_jax.training.step import (
  jitted,
  make_compressor_step,
  make_train_step,
)


def jitted_step(
  config: Config, mesh: Mesh, penalized: bool = True
) -> jax.stages.Wrapped:
  """Returns a step that `train` runs after its warm-up."""
  if config.preset == 'compressor':
    return jitted(config, mesh, make_compressor_step(config))
  return jitted(config, mesh, make_train_step(config, penalized))


def lower_step(
  config: Config, mesh: Mesh, penalized: bool = True
) -> jax.stages.Lowered:
  """Lowers a step that `train` runs after its warm-up."""
  return jitted_step(config, mesh, penalized).lower(
    state.abstract_state(config, mesh), abstract_batch(config, mesh)
  )


def shares(config: Config) -> dict[bool, float]:
  """Returns the share of steps with and without the gradient penalty."""
  if config.preset == 'compressor' or not config.gradient_penalty:
    return {False: 1.0}
  share = 1.0 / config.gradient_penalty_every
  if share == 1.0:
    return {True: 1.0}
  return {False: 1.0 - share, True: share}


def abstract_batch(config: Config, mesh: Mesh) -> dict[str, Any]:
  """Returns shapes, types and shardings of a batch."""
  spread = sharding.batched(mesh)
  return {
    name: jax.ShapeDtypeStruct(
      (config.batch_size, *shape), dtype, sharding=spread
    )
    for name, (shape, dtype) in batch_shapes(config).items()
  }
