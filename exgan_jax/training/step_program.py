"""The step that `train` runs, as a program to be compiled or timed.

It follows from the configuration alone: neither data nor a trained model are
needed.
"""

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
  """The step that `train` runs, after its warm-up."""
  is_compressor = config.preset == 'compressor'
  make_step = make_compressor_step if is_compressor else make_train_step
  return jitted(config, mesh, make_step(config))


def lower_step(config: Config, mesh: Mesh) -> jax.stages.Lowered:
  """The step that `train` runs, after its warm-up, ready to be compiled.

  Neither state nor batch is made; the code model needs no compressor.
  """
  return jitted_step(config, mesh).lower(
    state.abstract_state(config, mesh), abstract_batch(config, mesh)
  )


def abstract_batch(config: Config, mesh: Mesh) -> dict[str, Any]:
  """Shapes, types and shardings of a batch."""
  lies = sharding.batched(mesh)
  return {
    name: jax.ShapeDtypeStruct(
      (config.batch_size, *shape), dtype, sharding=lies
    )
    for name, (shape, dtype) in batch_shapes(config).items()
  }
