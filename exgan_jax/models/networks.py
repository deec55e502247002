"""The networks of a configuration: their structure and their parameters.

Parameters are plain nested dictionaries of float32 arrays, so a checkpoint can
be read without this code; the networks' structure comes from the
configuration.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from exgan_jax.config import Config
from exgan_jax.models import masks
from exgan_jax.models.autoencoder import (
  Compressor,
  CompressorConfig,
  EyeEncoder,
)
from exgan_jax.models.discriminator import (
  Discriminator,
  DiscriminatorConfig,
  EyeDiscriminator,
)
from exgan_jax.models.generator import Generator, GeneratorConfig
from exgan_jax.models.transfer import TransferConfig, TransferNetwork
from exgan_jax.runtime import sharding

Params = dict[str, Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Model:
  """The part of the state that evaluation and inference read.

  Attributes:
    generator: averaged parameters.
    encoder: frozen parameters of the code model's eye encoder; else none.
  """

  generator: Params
  encoder: Params


@dataclasses.dataclass(frozen=True)
class Network:
  """A network's structure, to be called with its arrays.

  Attributes:
    graph: the module without its arrays.
    abstract: shapes and types of the parameters.
  """

  graph: nnx.GraphDef
  abstract: Params

  def __call__(self, params: Params, *inputs: Any) -> Any:
    """Runs the network; the module's class says what it takes and returns."""
    return nnx.merge(self.graph, params)(*inputs)


def make_generator(config: Config) -> Network:
  """The generator's structure, or the auto-encoder's; nothing is computed."""
  if config.preset == 'compressor':
    return _structure(Compressor, _compressor_shape(config))
  if config.preset == 'transfer':
    dtype = jnp.dtype(config.compute_dtype)
    shape = TransferConfig(4 * config.generator_width, dtype)
    return _structure(TransferNetwork, shape)
  shape = GeneratorConfig(
    in_channels=4 + _exemplar_channels(config),
    width=config.generator_width,
    dilations=tuple(2 ** (i + 1) for i in range(config.dilations)),
    code_size=2 * config.code_size if config.exemplar == 'code' else 0,
    crop_side=masks.eye_side(config.resolution),
    dtype=jnp.dtype(config.compute_dtype),
  )
  return _structure(Generator, shape)


def make_discriminator(config: Config) -> Network:
  """The discriminator's structure; nothing is computed."""
  shape = DiscriminatorConfig(
    in_channels=3 + _exemplar_channels(config),
    width=config.discriminator_width,
    resolution=config.resolution,
    crop_side=masks.crop_side(config.resolution),
    # The exemplar's code and that of the picture that is judged.
    code_size=4 * config.code_size if config.exemplar == 'code' else 0,
    dtype=jnp.dtype(config.compute_dtype),
  )
  is_local = config.preset == 'transfer'
  return _structure(EyeDiscriminator if is_local else Discriminator, shape)


def make_encoder(config: Config) -> Network:
  """The structure of the compressor's encoder; nothing is computed."""
  return _structure(EyeEncoder, _compressor_shape(config))


def _compressor_shape(config: Config) -> CompressorConfig:
  return CompressorConfig(
    crop_side=masks.eye_side(config.resolution),
    width=config.compressor_width,
    code_size=config.code_size,
    dtype=jnp.dtype(config.compute_dtype),
  )


def _exemplar_channels(config: Config) -> int:
  return 4 if config.exemplar == 'image' else 0


def init_params(network: Network, key: jax.Array) -> Params:
  """Fresh float32 parameters of a network.

  Normal kernels of variance 1 / fan-in, scales of one and zeros for the rest:
  LeCun et al. 1998, "Efficient BackProp". Twice the variance, as for plain
  stacks of rectifiers, is too much where layers are summed: it made learning
  slower. All kernels are cut from one draw: a draw a kernel takes half a minute
  to compile on a CPU.
  """
  leaves, tree = jax.tree.flatten_with_path(network.abstract)
  kernels = [leaf for path, leaf in leaves if _name(path) == 'kernel']
  draw = jax.random.normal(key, (sum(leaf.size for leaf in kernels),))
  params, start = [], 0
  for path, leaf in leaves:
    if _name(path) == 'kernel':
      fan_in = leaf.size // leaf.shape[-1]
      values = draw[start : start + leaf.size] * fan_in**-0.5
      params.append(values.reshape(leaf.shape))
      start += leaf.size
    else:
      fill = jnp.ones if _name(path) == 'scale' else jnp.zeros
      params.append(fill(leaf.shape))
  return jax.tree.unflatten(tree, params)


def _name(path: tuple) -> str:
  return path[-1].key


def abstract(tree: Any, mesh: Mesh) -> Any:
  """Gives every shape of a tree the sharding that its array has."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding.split(mesh, x.shape)
    ),
    tree,
  )


def abstract_model(config: Config, mesh: Mesh) -> Model:
  """Shapes, types and shardings of a model; nothing is computed."""
  encoder = make_encoder(config).abstract if config.exemplar == 'code' else {}
  return abstract(Model(make_generator(config).abstract, encoder), mesh)


def _structure(module: type[nnx.Module], shape: Any) -> Network:
  instance = nnx.eval_shape(lambda: module(shape, rngs=nnx.Rngs(0)))
  graph, params = nnx.split(instance, nnx.Param)
  return Network(graph, nnx.to_pure_dict(params))
