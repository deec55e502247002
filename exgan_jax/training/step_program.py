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


def jitted_step(config: Config, mesh: Mesh) -> jax.stages.Wrapped:
  """Returns the step that `train` runs after its warm-up."""
  is_compressor = config.preset == 'compressor'
  make_step = make_compressor_step if is_compressor else make_train_step
  return jitted(config, mesh, make_step(config))


def lower_step(config: Config, mesh: Mesh) -> jax.stages.Lowered:
  """Lowers the step that `train` runs after its warm-up."""
  return jitted_step(config, mesh).lower(
    state.abstract_state(config, mesh), abstract_batch(config, mesh)
  )


def abstract_batch(config: Config, mesh: Mesh) -> dict[str, Any]:
  """Returns shapes, types and shardings of a batch."""
  spread = sharding.batched(mesh)
  return {
    name: jax.ShapeDtypeStruct(
      (config.batch_size, *shape), dtype, sharding=spread
    )
    for name, (shape, dtype) in batch_shapes(config).items()
  }
