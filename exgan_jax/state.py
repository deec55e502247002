"""What training changes: both networks, their optimisers, the average, step.

Parameters are plain nested dictionaries of float32 arrays, so a checkpoint can
be read without this code; the networks' structure comes from the
configuration.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from exgan_jax import masks, sharding
from exgan_jax.config import Config
from exgan_jax.models.discriminator import Discriminator, DiscriminatorConfig
from exgan_jax.models.generator import Generator, GeneratorConfig

# Purposes folded into the seed; a new one takes a new number.
GENERATOR_KEY, DISCRIMINATOR_KEY = 0, 1

Params = dict[str, Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """All that a step reads and writes.

  Attributes:
    step: number of steps done, int32 scalar.
    generator: its parameters.
    discriminator: its parameters.
    average: exponential moving average of the generator's parameters, the
      weights that evaluation and inference use.
    generator_optimizer: Adam's moments.
    discriminator_optimizer: Adam's moments.
  """

  step: jax.Array
  generator: Params
  discriminator: Params
  average: Params
  generator_optimizer: optax.OptState
  discriminator_optimizer: optax.OptState


@dataclasses.dataclass(frozen=True)
class Network:
  """A network's structure, to be called with its parameters.

  Attributes:
    graph: the module without its arrays.
    abstract: shapes and types of the parameters.
  """

  graph: nnx.GraphDef
  abstract: Params

  def __call__(self, params: Params, *inputs: jax.Array) -> jax.Array:
    """Runs the network; the module's class says what it takes and gives."""
    return nnx.merge(self.graph, params)(*inputs)


def make_generator(config: Config) -> Network:
  """The generator's structure; nothing is computed."""
  exemplar_channels = 4 if config.exemplar == 'image' else 0
  shape = GeneratorConfig(
    in_channels=4 + exemplar_channels,
    width=config.generator_width,
    dilations=tuple(2 ** (i + 1) for i in range(config.dilations)),
    dtype=jnp.dtype(config.compute_dtype),
  )
  return _structure(Generator, shape)


def make_discriminator(config: Config) -> Network:
  """The discriminator's structure; nothing is computed."""
  exemplar_channels = 4 if config.exemplar == 'image' else 0
  shape = DiscriminatorConfig(
    in_channels=3 + exemplar_channels,
    width=config.discriminator_width,
    resolution=config.resolution,
    crop_side=masks.crop_side(config.resolution),
    dtype=jnp.dtype(config.compute_dtype),
  )
  return _structure(Discriminator, shape)


def make_optimizers(
  config: Config,
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
  """Adam for the generator and for the discriminator, in this order."""

  def adam(rate: float) -> optax.GradientTransformation:
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


def init_state(config: Config) -> TrainState:
  """The state before the first step, a pure function of the configuration."""
  key = jax.random.key(config.seed)
  generator = init_params(
    make_generator(config), jax.random.fold_in(key, GENERATOR_KEY)
  )
  discriminator = init_params(
    make_discriminator(config), jax.random.fold_in(key, DISCRIMINATOR_KEY)
  )
  generator_optimizer, discriminator_optimizer = make_optimizers(config)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    generator=generator,
    discriminator=discriminator,
    average=jax.tree.map(jnp.copy, generator),
    generator_optimizer=generator_optimizer.init(generator),
    discriminator_optimizer=discriminator_optimizer.init(discriminator),
  )


def init_params(network: Network, key: jax.Array) -> Params:
  """Fresh float32 parameters of a network.

  Normal kernels of variance 2 / fan-in and zero biases: He et al. 2015,
  "Delving Deep into Rectifiers". All kernels are cut from one draw: a draw a
  kernel takes half a minute to compile on a CPU.
  """
  leaves, tree = jax.tree.flatten(network.abstract)
  kernels = [leaf for leaf in leaves if len(leaf.shape) > 1]
  draw = jax.random.normal(key, (sum(leaf.size for leaf in kernels),))
  params, start = [], 0
  for leaf in leaves:
    if len(leaf.shape) > 1:
      fan_in = leaf.size // leaf.shape[-1]
      values = draw[start : start + leaf.size] * (2.0 / fan_in) ** 0.5
      params.append(values.reshape(leaf.shape))
      start += leaf.size
    else:
      params.append(jnp.zeros(leaf.shape))
  return jax.tree.unflatten(tree, params)


def abstract_state(config: Config, mesh: Mesh) -> TrainState:
  """Shapes, types and shardings of the state; nothing is computed."""
  return abstract(jax.eval_shape(lambda: init_state(config)), mesh)


def abstract(tree: Any, mesh: Mesh) -> Any:
  """Gives every shape of a tree the sharding that its array has."""
  where = sharding.replicated(mesh)
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree
  )


def create_state(config: Config, mesh: Mesh) -> TrainState:
  """Computes the first state where it will live, on every device at once.

  Returns:
    The same values for any mesh: randomness does not depend on the devices.
  """
  shardings = jax.tree.map(lambda x: x.sharding, abstract_state(config, mesh))
  return jax.jit(lambda: init_state(config), out_shardings=shardings)()


def _structure(module: type[nnx.Module], shape: Any) -> Network:
  instance = nnx.eval_shape(lambda: module(shape, rngs=nnx.Rngs(0)))
  graph, state = nnx.split(instance)
  return Network(graph, nnx.to_pure_dict(state))
