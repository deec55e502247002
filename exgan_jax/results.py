"""What an evaluation found: the fields of results.json, and as a table."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import pathlib
import platform
from typing import Any

import jax
import numpy as np

from exgan_jax import config as config_lib
from exgan_jax.config import Config
from exgan_jax.input_pipeline import Records
from exgan_jax.state import Model, Params
from tfds_celeb_id import InputError

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
  """

  model: str
  step: int
  dataset: str
  split: str
  resolution: int
  num_images: int
  protocol: str
  metrics: dict[str, float | str | None]
  skipped: dict[str, str]
  baselines: dict[str, dict[str, float | str | None]]
  provenance: dict[str, Any]

  def save(self, path: str | pathlib.Path) -> None:
    """Writes results.json, whole or not at all, making its folder.

    Raises:
      OSError: it cannot be written.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + '.tmp')
    temporary.write_text(json.dumps(dataclasses.asdict(self), indent=2) + '\n')
    temporary.replace(path)


def load(path: str | pathlib.Path) -> Results:
  """Reads what `Results.save` wrote.

  Raises:
    InputError: there is no such file, or it holds no results.
  """
  try:
    fields = json.loads(pathlib.Path(path).read_text())
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror}') from error
  except (ValueError, RecursionError) as error:
    raise InputError(f'{path} is not JSON') from error
  hints = {
    'model': str, 'step': int, 'dataset': str, 'split': str,
    'resolution': int, 'num_images': int, 'protocol': str, 'metrics': dict,
    'skipped': dict, 'baselines': dict, 'provenance': dict,
  }  # fmt: skip
  if not isinstance(fields, dict) or fields.keys() != hints.keys():
    raise InputError(f'{path} does not have the fields of results')
  for name, hint in hints.items():
    if type(fields[name]) is not hint:
      raise InputError(f'{path}: {name} is not of type {hint.__name__}')
  for metrics in (fields['metrics'], *fields['baselines'].values()):
    if not isinstance(metrics, dict):
      raise InputError(f'{path}: a baseline is not an object')
    for name, value in metrics.items():
      if not (value is None or isinstance(value, int | float | str)):
        raise InputError(f'{path}: {name} is not a number')
  return Results(**fields)


def format_table(results: Results) -> str:
  """The metrics of the model and the baselines, for people to read."""
  columns = {results.model: results.metrics} | results.baselines
  wanted = [
    name for name, value in results.metrics.items() if isinstance(value, float)
  ]
  lines = [
    f'{results.dataset} {results.split}: {results.num_images} pictures at'
    f' {results.resolution} px, step {results.step}',
    f'{"":<22}' + ''.join(f'{column:>16}' for column in columns),
  ]
  for name in wanted:
    cells = (values[name] for values in columns.values())
    shown = ('-' if cell is None else f'{cell:.5f}' for cell in cells)
    lines.append(f'{name:<22}' + ''.join(f'{cell:>16}' for cell in shown))
  if variant := results.metrics.get('ms_ssim_variant'):
    lines.append(
      f'Images in [0, 1]; ms_ssim is 1 - MS-SSIM ({variant}). Smaller is'
      ' better,\nbut for what is painted after a stranger (swapped).'
    )
  return '\n'.join(lines)


def provenance_of(
  config: Config, model: Model, records: Records, encoder: Params | None
) -> dict[str, Any]:
  """What made the numbers: versions, hashes, device."""
  device = jax.devices()[0]
  return {
    'versions': {
      'python': platform.python_version(),
      **{name: _version(name) for name in PACKAGES},
    },
    'dataset_version': records.version,
    'records_sha256': records.fingerprint(),
    'config_sha256': config_lib.fingerprint(config),
    'weights_sha256': weights_hash(model),
    'encoder_sha256': encoder and weights_hash(encoder),
    'device': f'{jax.device_count()} x {device.device_kind}',
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
