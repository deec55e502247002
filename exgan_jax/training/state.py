"""All that a training step reads and writes, and how it starts."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from exgan_jax.config import Config
from exgan_jax.models.networks import (
  Model,
  Params,
  abstract,
  init_params,
  make_discriminator,
  make_encoder,
  make_generator,
)

# Purposes folded into the seed; a new one takes a new number. 2 is `augment`'s.
GENERATOR_KEY, DISCRIMINATOR_KEY = 0, 1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """All that a step reads and writes.

  Attributes:
    step: number of steps done, int32 scalar.
    generator: its parameters; those of the auto-encoder where that is what is
      trained.
    discriminator: its parameters; none for the auto-encoder.
    average: exponential moving average of the generator's parameters, the
      weights that evaluation and inference use.
    encoder: frozen parameters of the code model's eye encoder; else none.
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
  """What evaluation and inference read of a state."""
  return Model(state.average, state.encoder)


def make_optimizers(
  config: Config,
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
  """Adam for the generator and for the discriminator, in this order."""

  def adam(rate: float) -> optax.GradientTransformation:
    if config.decay_steps:
      rate = optax.cosine_decay_schedule(rate, config.decay_steps)
    transform = optax.adam(rate, b1=config.adam_b1, b2=config.adam_b2)

    def update(*args, **kwargs):
      # Optax raises a float to an integer power; all else here is strict.
      with jax.numpy_dtype_promotion('standard'):
        return transform.update(*args, **kwargs)

    return optax.GradientTransformation(transform.init, update)

  return (
    adam(config.generator_learning_rate),
    adam(config.discriminator_learning_rate),
  )


def init_state(config: Config, encoder: Params | None = None) -> TrainState:
  """The state before the first step.

  A pure function of the configuration, and for the code model of the trained
  compressor's encoder.
  """
  key = jax.random.key(config.seed)
  painter = make_generator(config)
  generator = init_params(painter, jax.random.fold_in(key, GENERATOR_KEY))
  discriminator = {}
  if config.preset != 'compressor':
    judge = make_discriminator(config)
    discriminator = init_params(
      judge, jax.random.fold_in(key, DISCRIMINATOR_KEY)
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
  """Shapes, types and shardings of the state; nothing is computed."""
  encoder = make_encoder(config).abstract if config.exemplar == 'code' else {}
  return abstract(
    jax.eval_shape(lambda e: init_state(config, e), encoder), mesh
  )


def shardings(config: Config, mesh: Mesh) -> TrainState:
  """Where every array of the state lies."""
  return jax.tree.map(lambda x: x.sharding, abstract_state(config, mesh))


def create_state(
  config: Config, mesh: Mesh, encoder: Params | None = None
) -> TrainState:
  """Computes the first state where it will live, on every device at once.

  Returns:
    The same values for any mesh: randomness does not depend on the devices.
  """
  init = jax.jit(
    lambda frozen: init_state(config, frozen),
    out_shardings=shardings(config, mesh),
  )
  return init(encoder or {})
