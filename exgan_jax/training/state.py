"""The training state and its initialization."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from exgan_jax.config import Config
from exgan_jax.errors import InputError
from exgan_jax.models.networks import (
  Model,
  Params,
  abstract,
  init_params,
  make_discriminator,
  make_encoder,
  make_generator,
)
from exgan_jax.runtime import sharding

# Folded into the seed, one per purpose. `augment` uses 2.
GENERATOR_KEY, DISCRIMINATOR_KEY = 0, 1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """All that a step reads and writes.

  Attributes:
    step: number of completed steps, int32 scalar.
    generator: parameters of the generator or the compressor.
    discriminator: parameters; empty for the compressor.
    average: exponential moving average of the generator's parameters, used for
      evaluation and inference.
    encoder: frozen parameters of the code model's eye encoder, else empty.
    generator_optimizer: Adam's moments.
    discriminator_optimizer: Adam's moments.
  """

  step: jax.Array
  generator: Params
  discriminator: Params
  average: Params
  encoder: Params
  generator_optimizer: optax.OptState
  discriminator_optimizer: optax.OptState


def model_of(state: TrainState) -> Model:
  """Returns the part of a state for evaluation and inference."""
  return Model(state.average, state.encoder)


def make_optimizers(
  config: Config,
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
  """Returns the optimizers of the generator and the discriminator."""

  def adam(rate: float) -> optax.GradientTransformation:
    schedule = (
      optax.cosine_decay_schedule(rate, config.decay_steps)
      if config.decay_steps
      else rate
    )
    transform = optax.adam(schedule, b1=config.adam_b1, b2=config.adam_b2)

    def update(*args, **kwargs):
      # Optax raises floats to integer powers, which strict promotion forbids.
      with jax.numpy_dtype_promotion('standard'):
        return transform.update(*args, **kwargs)

    return optax.GradientTransformation(transform.init, update)

  return (
    adam(config.generator_learning_rate),
    adam(config.discriminator_learning_rate),
  )


def init_state(config: Config, encoder: Params | None = None) -> TrainState:
  """Returns the state before the first step, a function of the arguments.

  The code model needs the encoder of a trained compressor.
  """
  key = jax.random.key(config.seed)
  generator = init_params(
    make_generator(config), jax.random.fold_in(key, GENERATOR_KEY)
  )
  discriminator: Params = {}
  if config.preset != 'compressor':
    discriminator = init_params(
      make_discriminator(config), jax.random.fold_in(key, DISCRIMINATOR_KEY)
    )
  generator_optimizer, discriminator_optimizer = make_optimizers(config)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    generator=generator,
    discriminator=discriminator,
    average=jax.tree.map(jnp.copy, generator),
    encoder=encoder or {},
    generator_optimizer=generator_optimizer.init(generator),
    discriminator_optimizer=discriminator_optimizer.init(discriminator),
  )


def abstract_state(config: Config, mesh: Mesh) -> TrainState:
  """Returns shapes, types and shardings of the state."""
  encoder = make_encoder(config).abstract if config.exemplar == 'code' else {}
  return abstract(
    jax.eval_shape(lambda e: init_state(config, e), encoder), mesh
  )


def shardings(config: Config, mesh: Mesh) -> TrainState:
  """Returns the sharding of every array of the state."""
  return jax.tree.map(lambda x: x.sharding, abstract_state(config, mesh))


def check_memory(config: Config, mesh: Mesh) -> None:
  """Checks, before hours of compilation, that a step can fit in memory.

  A step needs more than is counted here: the state, the gradients, the batch,
  and what two layers of the generator at full resolution keep of each picture.

  Raises:
    InputError: that alone is more than this machine has.
  """

  def size(tree: Any) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))

  state = abstract_state(config, mesh)
  copies = mesh.size // mesh.shape['fsdp']
  weights = copies * size([state, state.generator, state.discriminator])
  channels = 2 * 3 + 2 * config.generator_width
  pictures = config.batch_size * config.resolution**2 * channels * 4
  if config.compute_dtype != 'float32':
    pictures //= 2
  here = len(mesh.local_devices) / mesh.size
  needed, there = (weights + pictures) * here, sharding.memory_of(mesh)
  if there is not None and needed > there:
    raise InputError(
      f'a step needs more than {needed / 2**30:,.0f} GiB, this machine has'
      f' {there / 2**30:,.0f}: reduce --batch-size, --resolution or the widths'
    )


def create_state(
  config: Config, mesh: Mesh, encoder: Params | None = None
) -> TrainState:
  """Computes the initial state on its devices; equal for any mesh."""
  init = jax.jit(
    lambda frozen: init_state(config, frozen),
    out_shardings=shardings(config, mesh),
  )
  return init(encoder or {})
