"""Trained models as two small files: `config.json` and `weights.safetensors`.

The weights are the averaged ones, named by their paths in the parameter tree.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jax.sharding import Mesh

from exgan_jax import config as config_lib
from exgan_jax import files
from exgan_jax.config import Config
from exgan_jax.errors import InputError
from exgan_jax.models.networks import Model, abstract_model
from exgan_jax.runtime import sharding

WEIGHTS = 'weights.safetensors'
# Metadata of the weights: the SHA-256 of the configuration beside them.
_CONFIG = 'config_sha256'
# The default model of `exgan inpaint`.
PRETRAINED = pathlib.Path(__file__).parents[1] / 'photo' / 'pretrained'


def restore(
  workdir: str | os.PathLike | None = None, step: int | None = None
) -> tuple[Config, Model]:
  """Reads a model that paints.

  Args:
    workdir: folder of a run or of an exported model; by default the model that
      is part of this package.
    step: of the run's checkpoint; the newest by default.

  Raises:
    InputError: there is no such model, or it is a compressor.
  """
  folder = PRETRAINED if workdir is None else pathlib.Path(workdir)
  config = config_lib.load(folder / config_lib.FILENAME)
  if config.preset == 'compressor':
    raise InputError(f'{folder} holds a compressor, which does not paint')
  mesh = sharding.make_mesh(1, devices=jax.local_devices()[:1])
  if (folder / WEIGHTS).is_file():
    if step is not None:
      raise InputError(f'{folder} is an exported model: it has no steps')
    return config, _load(config, folder / WEIGHTS, mesh)
  # Slow to import, and not needed for exported models.
  from exgan_jax.training.checkpoint import Checkpoints

  with Checkpoints(folder) as checkpoints:
    return config, checkpoints.restore_model(config, mesh, step)[1]


def export(
  workdir: str | os.PathLike,
  output: str | os.PathLike,
  step: int | None = None,
) -> None:
  """Writes a run's model to a folder that can be used like the run.

  Raises:
    InputError: there is no such run, its model is a compressor, or `output` is
      the folder of a run.
    OSError: the folder cannot be written.
  """
  config, model = restore(workdir, step)
  output = pathlib.Path(output)
  if (output / 'checkpoints').exists():
    raise InputError(
      f'{output} is the folder of a run: choose another --output'
    )
  output.mkdir(parents=True, exist_ok=True)
  # Paths of the training machine are private.
  bare = dataclasses.replace(
    config, workdir='', data_dir='', compressor='', lpips=''
  )
  config_lib.save(bare, output / config_lib.FILENAME)
  arrays = {name: np.asarray(leaf) for name, leaf in named(model).items()}
  data = safetensors.numpy.save(arrays, {_CONFIG: _digest(output)})
  files.write_bytes(output / WEIGHTS, data)


def _digest(folder: pathlib.Path) -> str:
  return hashlib.sha256((folder / config_lib.FILENAME).read_bytes()).hexdigest()


def named(model: Model) -> dict[str, jax.Array]:
  """Returns the arrays of a model by their paths in its tree."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(model)
  }


def _load(config: Config, path: pathlib.Path, mesh: Mesh) -> Model:
  abstract = abstract_model(config, mesh)
  try:
    with safetensors.safe_open(path, 'numpy') as file:
      written = (file.metadata() or {}).get(_CONFIG)
    found = safetensors.numpy.load_file(path)
  except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
    raise InputError(f'{path} is not a safetensors file') from error
  # Models exported by older versions have no digest.
  if written not in (None, _digest(path.parent)):
    raise InputError(
      f'{path} does not belong to the config.json beside it: export it again'
    )
  leaves = []
  for name, leaf in named(abstract).items():
    array = found.get(name)
    if array is None or (array.shape, array.dtype) != (leaf.shape, leaf.dtype):
      there = 'missing' if array is None else f'{array.dtype}{array.shape}'
      raise InputError(f'{path}: {name} is {there}, not {leaf.shape}')
    if not np.isfinite(array).all():
      raise InputError(f'{path}: {name} contains values that are not finite')
    leaves.append(jax.device_put(jnp.asarray(array), leaf.sharding))
  return jax.tree.unflatten(jax.tree.structure(abstract), leaves)
