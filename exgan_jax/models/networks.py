"""The networks of a configuration: their structure and their parameters.

Parameters are nested dictionaries of float32 arrays, so a checkpoint can be
read without this code. The structure follows from the configuration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from exgan_jax.config import Config
from exgan_jax.models import masks
from exgan_jax.models.autoencoder import Compressor, EyeEncoder
from exgan_jax.models.discriminator import Discriminator, EyeDiscriminator
from exgan_jax.models.generator import Generator
from exgan_jax.models.transfer import TransferNetwork
from exgan_jax.runtime import sharding

Params = dict[str, Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Model:
  """The part of the state that evaluation and inference read.

  Attributes:
    generator: averaged parameters.
    encoder: frozen parameters of the code model's eye encoder, else empty.
  """

  generator: Params
  encoder: Params


@dataclasses.dataclass(frozen=True)
class Network:
  """A network without its arrays.

  Attributes:
    graph: structure of the module.
    abstract: shapes and types of the parameters.
  """

  graph: nnx.GraphDef
  abstract: Params

  def __call__(self, params: Params, *inputs: Any) -> Any:
    """Runs the network; see the module's class for inputs and results."""
    return nnx.merge(self.graph, params)(*inputs)


def make_generator(config: Config) -> Network:
  """Returns the structure of the generator, or of the compressor."""
  if config.preset == 'compressor':
    return _structure(config, Compressor, **_compressor_shape(config))
  if config.preset == 'transfer':
    return _structure(config, TransferNetwork, width=4 * config.generator_width)
  return _structure(
    config,
    Generator,
    in_channels=4 + _exemplar_channels(config),
    width=config.generator_width,
    dilations=tuple(2 ** (i + 1) for i in range(config.dilations)),
    code_size=2 * config.code_size if config.exemplar == 'code' else 0,
    crop_side=masks.eye_side(config.resolution),
  )


def make_discriminator(config: Config) -> Network:
  """Returns the structure of the discriminator."""
  shape = {
    'in_channels': 3 + _exemplar_channels(config),
    'width': config.discriminator_width,
  }
  if config.preset == 'transfer':
    return _structure(config, EyeDiscriminator, **shape)
  return _structure(
    config,
    Discriminator,
    **shape,
    resolution=config.resolution,
    crop_side=masks.crop_side(config.resolution),
    # The codes of the exemplar and of the judged picture.
    code_size=4 * config.code_size if config.exemplar == 'code' else 0,
  )


def make_encoder(config: Config) -> Network:
  """Returns the structure of the compressor's encoder."""
  return _structure(config, EyeEncoder, **_compressor_shape(config))


def _compressor_shape(config: Config) -> dict[str, int]:
  return {
    'crop_side': masks.eye_side(config.resolution),
    'width': config.compressor_width,
    'code_size': config.code_size,
  }


def _exemplar_channels(config: Config) -> int:
  return 4 if config.exemplar == 'image' else 0


def _structure(
  config: Config, module: Callable[..., nnx.Module], **shape: Any
) -> Network:
  dtype = jnp.dtype(config.compute_dtype)
  instance = nnx.eval_shape(
    lambda: module(**shape, dtype=dtype, rngs=nnx.Rngs(0))
  )
  graph, params = nnx.split(instance, nnx.Param)
  return Network(graph, nnx.to_pure_dict(params))


def init_params(network: Network, key: jax.Array) -> Params:
  """Initializes float32 parameters.

  Kernels are normal with variance 1 / fan-in (LeCun et al. 1998, "Efficient
  BackProp"), the rest is zero. He initialization made learning slower, because
  of the skip connections. All kernels come from one draw: one draw per kernel
  takes half a minute to compile on a CPU.
  """
  leaves, tree = jax.tree.flatten_with_path(network.abstract)
  named = [(path[-1].key, leaf) for path, leaf in leaves]
  size = sum(leaf.size for name, leaf in named if name == 'kernel')
  draw = jax.random.normal(key, (size,))
  params, start = [], 0
  for name, leaf in named:
    if name == 'kernel':
      fan_in = leaf.size // leaf.shape[-1]
      values = draw[start : start + leaf.size] * fan_in**-0.5
      params.append(values.reshape(leaf.shape))
      start += leaf.size
    else:
      params.append(jnp.zeros(leaf.shape))
  return jax.tree.unflatten(tree, params)


def abstract(tree: Any, mesh: Mesh) -> Any:
  """Adds to every shape of a tree the sharding of its array."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding.split(mesh, x.shape)
    ),
    tree,
  )


def abstract_model(config: Config, mesh: Mesh) -> Model:
  """Returns shapes, types and shardings of a model."""
  encoder = make_encoder(config).abstract if config.exemplar == 'code' else {}
  return abstract(Model(make_generator(config).abstract, encoder), mesh)
