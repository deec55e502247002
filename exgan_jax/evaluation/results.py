"""What an evaluation found: the fields of results.json, and as a table."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import pathlib
import platform
from typing import Any

import jax
import numpy as np

from exgan_jax import config as config_lib
from exgan_jax import files
from exgan_jax.config import Config
from exgan_jax.data.train_batches import Records
from exgan_jax.evaluation import schema
from exgan_jax.models.networks import Model, Params

Metrics = dict[str, float | str | None]
Intervals = dict[str, list[float]]

PACKAGES = ('exgan_jax', 'jax', 'flax', 'orbax-checkpoint', 'grain', 'numpy')


@dataclasses.dataclass(frozen=True)
class Results:
  """What an evaluation found; the fields of results.json.

  Attributes:
    model: preset of the model.
    step: of its checkpoint.
    dataset: name of the data set.
    split: evaluated split.
    resolution: side of the pictures in pixels.
    num_images: number of in-painted pictures.
    protocol: how references were chosen.
    metrics: `l1`, `l1_hole` (images in [0, 1]), `ms_ssim` (1 - MS-SSIM),
      `ms_ssim_variant`, `fid`, `inception_score` (and `_std`, over its ten
      splits); None where not computed. With weights that are not the published
      ones, `frechet_distance_unverified` and `inception_score_unverified`.
      How much is owed to the reference: `l1_hole_swapped`, with one of another
      person, and its ratio to `l1_hole`; `code_distance` between the painted
      eyes and the true ones under a compressor; `iris_delta_e`, the median
      CIEDE2000 distance of their irises' colours; both also `_swapped`.
      Of a compressor: `l1_eyes` of its drawings, over the crops, and the
      `verification_auc` of its codes.
    skipped: why a metric is None.
    baselines: the same metrics of methods that learn nothing.
    provenance: versions, hashes of configuration and weights, device.
    intervals: of `model` and of each baseline, low and high end of a metric's
      95 % bootstrap interval over people.
  """

  model: str
  step: int
  dataset: str
  split: str
  resolution: int
  num_images: int
  protocol: str
  metrics: Metrics
  skipped: dict[str, str]
  baselines: dict[str, Metrics]
  provenance: dict[str, Any]
  intervals: dict[str, Intervals] = dataclasses.field(default_factory=dict)

  def save(self, path: str | pathlib.Path) -> None:
    """Writes results.json, whole or not at all, making its folder.

    Raises:
      OSError: it cannot be written.
    """
    files.write_json(path, self)


@dataclasses.dataclass(frozen=True)
class Score:
  """What a comparison of two folders found; the fields of score.json.

  Attributes:
    method: name of whatever made the results.
    num_images: number of pairs of pictures.
    resolution: shorter side of the pictures in pixels, None where they differ.
    metrics: as in `Results`, as far as pictures alone tell them.
    skipped: why a metric is None.
    provenance: versions, hash of the network's weights, device.
    intervals: low and high end of a metric's 95 % bootstrap interval.
  """

  method: str
  num_images: int
  resolution: int | None
  metrics: Metrics
  skipped: dict[str, str]
  provenance: dict[str, Any]
  intervals: Intervals = dataclasses.field(default_factory=dict)

  def save(self, path: str | pathlib.Path) -> None:
    """Writes score.json, whole or not at all, making its folder.

    Raises:
      OSError: it cannot be written.
    """
    files.write_json(path, self)


def load(path: str | pathlib.Path) -> Results | Score:
  """Reads what `Results.save` or `Score.save` wrote; its fields tell which.

  Raises:
    InputError: there is no such file, or it holds neither.
  """
  fields = files.read_json(path)
  if 'method' in fields:
    return Score(**schema.checked(path, fields, schema.SCORE))
  return Results(**schema.checked(path, fields, schema.RESULTS))


def format_table(results: Results) -> str:
  """The metrics of the model and the baselines, for people to read."""
  title = (
    f'{results.dataset} {results.split}: {results.num_images} pictures at'
    f' {results.resolution} px, step {results.step}'
  )
  return _format(title, {results.model: results.metrics} | results.baselines)


def format_score(score: Score) -> str:
  """The metrics of a folder of pictures, for people to read."""
  title = f'{score.num_images} pictures'
  if score.resolution is not None:
    title += f' of {score.resolution} px'
  return _format(title, {score.method: score.metrics})


def _format(title: str, columns: dict[str, Metrics]) -> str:
  (first, *_) = columns.values()
  wanted = [name for name, value in first.items() if isinstance(value, float)]
  width = 2 + max(map(len, wanted), default=20)
  lines = [
    title,
    ' ' * width + ''.join(f'{column:>16}' for column in columns),
  ]
  for name in wanted:
    cells = (values.get(name) for values in columns.values())
    shown = ('-' if cell is None else f'{cell:.5f}' for cell in cells)
    lines.append(f'{name:<{width}}' + ''.join(f'{cell:>16}' for cell in shown))
  if variant := first.get('ms_ssim_variant'):
    lines.append(
      f'Images in [0, 1]; ms_ssim is 1 - MS-SSIM ({variant}). Smaller is'
      ' better,\nbut for what is painted after a stranger (swapped).'
    )
  return '\n'.join(lines)


def provenance_of(
  config: Config, model: Model, records: Records, encoder: Params | None
) -> dict[str, Any]:
  """What made the numbers: versions, hashes, device."""
  return {
    **environment(),
    'dataset_version': records.version,
    'records_sha256': records.fingerprint(),
    'config_sha256': config_lib.fingerprint(config),
    'config_but_seed_sha256': config_lib.fingerprint_of_seeds(config),
    'weights_sha256': weights_hash(model),
    'encoder_sha256': encoder and weights_hash(encoder),
  }


def environment() -> dict[str, Any]:
  """Versions and device."""
  return {
    'versions': {
      'python': platform.python_version(),
      **{name: _version(name) for name in PACKAGES},
    },
    'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
  }


def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def weights_hash(params: Any) -> str:
  """SHA-256 over names, shapes and values of a tree of arrays."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    array = np.asarray(leaf)
    name = jax.tree_util.keystr(path)
    digest.update(f'{name} {array.dtype} {array.shape}'.encode())
    digest.update(array.tobytes())
  return digest.hexdigest()
