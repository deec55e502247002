"""The content of results.json and score.json, also as text tables."""

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


class _Saved:
  def save(self, path: str | pathlib.Path) -> None:
    """Writes a JSON file atomically, creating the folder.

    Raises:
      OSError: the file cannot be written.
    """
    files.write_json(path, self)


@dataclasses.dataclass(frozen=True)
class Results(_Saved):
  """The results of an evaluation; the fields of results.json.

  Attributes:
    model: preset of the model.
    step: step of the checkpoint.
    dataset: name of the data set.
    split: evaluated split.
    resolution: side of the images in pixels, None if they differ.
    num_images: number of in-painted images.
    protocol: how references were chosen.
    metrics: `l1`, `l1_hole` (images in [0, 1]), `ms_ssim` (1 - MS-SSIM),
      `ms_ssim_variant`, `fid` and `inception_score` (with `_std`, over ten
      splits); None if not computed. With weights other than the published ones,
      `frechet_distance_unverified` and `inception_score_unverified`. All others
      are defined in docs/evaluation.md, among them:
      How much the reference matters: `l1_hole_swapped`, with a stranger's
      reference, and its ratio to `l1_hole`; `code_distance`, between the codes
      of the painted and the true eyes; `iris_delta_e`, the median CIEDE2000
      distance of their iris colors; the last two also `_swapped`.
      Of a compressor: `l1_eyes`, of its reconstructed eye crops, and
      `verification_auc`, of its codes.
    skipped: why a metric is None.
    baselines: the same metrics of each baseline.
    provenance: versions, hashes of configuration and weights, device.
    intervals: of `model` and each baseline, the bounds of the 95 % bootstrap
      interval of a metric over people.
  """

  model: str
  step: int
  dataset: str
  split: str
  resolution: int | None
  num_images: int
  protocol: str
  metrics: Metrics
  skipped: dict[str, str]
  baselines: dict[str, Metrics]
  provenance: dict[str, Any]
  intervals: dict[str, Intervals] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Score(_Saved):
  """The comparison of two folders; the fields of score.json.

  Attributes:
    method: name of the method that made the results.
    num_images: number of pairs of images.
    resolution: shorter side of the images in pixels, None if they differ.
    metrics: those of `Results` that images alone determine.
    skipped: why a metric is None.
    provenance: versions, hash of the Inception weights, device.
    intervals: bounds of the 95 % bootstrap interval of a metric over images.
  """

  method: str
  num_images: int
  resolution: int | None
  metrics: Metrics
  skipped: dict[str, str]
  provenance: dict[str, Any]
  intervals: Intervals = dataclasses.field(default_factory=dict)


def load(path: str | pathlib.Path) -> Results | Score:
  """Reads a file that `Results.save` or `Score.save` wrote.

  Raises:
    InputError: there is no such file, or it holds neither.
  """
  fields = files.read_json(path)
  if 'method' in fields:
    return Score(**schema.checked(path, fields, schema.SCORE))
  return Results(**schema.checked(path, fields, schema.RESULTS))


def format_table(results: Results) -> str:
  """Returns a text table of the model and the baselines."""
  title = (
    f'{results.dataset} {results.split}: {results.num_images} images,'
    f' {size_text(results.resolution)}, step {results.step}'
  )
  return _format(title, {results.model: results.metrics} | results.baselines)


def format_score(score: Score) -> str:
  """Returns a text table of the metrics of a folder."""
  title = f'{score.num_images} images, {size_text(score.resolution)}'
  return _format(title, {score.method: score.metrics})


def size_text(resolution: int | None) -> str:
  return 'several sizes' if resolution is None else f'{resolution} px'


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
      f'Images in [0, 1]; ms_ssim is 1 - MS-SSIM ({variant}).'
      '\n`exgan report` says what is good.'
    )
  return '\n'.join(lines)


def provenance_of(
  config: Config, model: Model, records: Records, encoder: Params | None
) -> dict[str, Any]:
  """Returns what the numbers depend on: versions, hashes, device."""
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
  """Returns versions and device."""
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
  """Returns a SHA-256 over names, shapes and values of a tree of arrays."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    array = np.asarray(leaf)
    name = jax.tree_util.keystr(path)
    digest.update(f'{name} {array.dtype} {array.shape}'.encode())
    digest.update(array.tobytes())
  return digest.hexdigest()
