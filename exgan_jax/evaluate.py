"""The separate evaluator: a checkpoint and records in, results.json out.

Follows the paper's protocol: every picture of the split is in-painted once,
with the next picture of the same person as its reference, and the first one
for the last. Results are rounded to 8 bits before they are scored, as a saved
picture is, so that a score of the files gives the same numbers.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import pathlib
import platform
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from exgan_jax import baselines as baselines_lib
from exgan_jax import config as config_lib
from exgan_jax import input_pipeline, metrics, sharding, sheet
from exgan_jax.checkpoint import Checkpoints
from exgan_jax.config import Config
from exgan_jax.train_step import make_paint_step

PROTOCOL = 'next-image'
SHEET_ROWS = 8
PACKAGES = ('exgan_jax', 'jax', 'flax', 'orbax-checkpoint', 'grain', 'numpy')
NO_INCEPTION = 'needs the Inception weights, which this version does not read'
NO_TRUTH = 'the split has no picture of the same scene with open eyes'

Values = dict[str, jax.Array]


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
      `ms_ssim_variant`, `fid`, `inception_score`; None where not computed.
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


def evaluate(
  workdir: str | pathlib.Path,
  data_dir: str | pathlib.Path,
  *,
  split: str = 'test',
  step: int | None = None,
  baselines: bool = False,
  batch_size: int = 32,
  sheet_path: str | pathlib.Path | None = None,
) -> Results:
  """Evaluates a checkpoint of a run.

  Args:
    workdir: folder of the run.
    data_dir: folder of the built data sets.
    split: which split's pictures are in-painted.
    step: of the checkpoint; the newest one by default.
    baselines: whether to score the baselines on the same pictures.
    batch_size: pictures in-painted at once, over all devices.
    sheet_path: where to write a PNG with some of the pictures, if anywhere.

  Returns:
    The metrics of the model, and of the baselines where they were asked for.

  Raises:
    InputError: there is no such run, checkpoint, data set or split, or a
      record is damaged.
    OSError: the sheet cannot be written.
  """
  workdir = pathlib.Path(workdir)
  config = config_lib.load(workdir / config_lib.FILENAME)
  mesh = sharding.make_mesh(batch_size)
  records = input_pipeline.Records(str(data_dir), config.dataset, split)
  with Checkpoints(workdir) as checkpoints:
    step, params = checkpoints.restore_generator(config, mesh, step)
  provenance = _provenance(config, params, records)

  methods = baselines_lib.BASELINES if baselines else {}
  scores = {name: Scores() for name in ('model', *methods)}
  paint = jax.jit(make_paint_step(config), out_shardings=sharding.batched(mesh))
  score = jax.jit(functools.partial(score_batch, config.resolution))
  first = None
  for batch in _progress(records, config, split, batch_size):
    painted = paint(params, sharding.to_device(batch.inputs, mesh))
    # The baselines work on the host while the device paints.
    mask = sheet.mask_of(batch.inputs)
    results = {
      name: method(batch.inputs, mask[..., 0])
      for name, method in methods.items()
    } | {'model': sheet.to_uint8(np.asarray(painted))}
    for name, pictures in results.items():
      compared = {'truth': batch.truth, 'painted': pictures, 'mask': mask}
      scores[name].add(score(**sharding.to_device(compared, mesh)), batch)
    first = first or (batch, mask, results)

  if sheet_path is not None:
    _write_sheet(*first, pathlib.Path(sheet_path))
  return Results(
    model=config.preset,
    step=step,
    dataset=config.dataset,
    split=split,
    resolution=config.resolution,
    num_images=len(input_pipeline.evaluation_positions(records, split)),
    protocol=PROTOCOL,
    metrics=scores['model'].compute(config.resolution),
    skipped=scores['model'].skipped(),
    baselines={
      name: scores[name].compute(config.resolution) for name in methods
    },
    provenance=provenance,
  )


def score_batch(
  resolution: int, truth: jax.Array, painted: jax.Array, mask: jax.Array
) -> Values:
  """Every metric of every picture of a batch.

  Args:
    resolution: side of the pictures in pixels.
    truth: uint8 [b, h, w, 3].
    painted: uint8 [b, h, w, 3].
    mask: bool [b, h, w, 1], true in the hole.

  Returns:
    float32 [b] a metric, and the bool [b] `has_hole`.
  """
  original = truth.astype(jnp.float32) / 255.0
  result = painted.astype(jnp.float32) / 255.0
  hole = mask.astype(jnp.float32)
  return {
    'l1': metrics.l1_per_image(original, result),
    'l1_hole': metrics.l1_hole_per_image(original, result, hole),
    'ms_ssim': metrics.ms_ssim_distance_per_image(
      original, result, metrics.ms_ssim_variant(resolution)
    ),
    'has_hole': metrics.has_hole(hole),
  }


class Scores:
  """The metrics of one method over a split."""

  def __init__(self):
    self._means = dict.fromkeys(('l1', 'l1_hole', 'ms_ssim'), metrics.Mean())

  def add(self, values: Values, batch: input_pipeline.EvaluationBatch) -> None:
    """Adds the pictures of a batch that have a truth."""
    values = jax.device_get(values)
    for name, mean in self._means.items():
      counted = batch.has_truth
      if name == 'l1_hole':
        counted = counted & values['has_hole']
      batch_mean = metrics.Mean.from_values(values[name], counted)
      self._means[name] = mean.merge(batch_mean)

  def compute(self, resolution: int) -> dict[str, float | str | None]:
    """The `metrics` object of results.json."""
    return {
      **{name: mean.compute() for name, mean in self._means.items()},
      'ms_ssim_variant': metrics.ms_ssim_variant(resolution),
      'fid': None,
      'inception_score': None,
    }

  def skipped(self) -> dict[str, str]:
    """Why metrics are None."""
    reasons = {'fid': NO_INCEPTION, 'inception_score': NO_INCEPTION}
    for name, mean in self._means.items():
      if not mean.count:
        reasons[name] = NO_TRUTH
    return reasons


def format_table(results: Results) -> str:
  """The metrics of the model and the baselines, for people to read."""
  lines = [
    f'{results.dataset} {results.split}: {results.num_images} pictures at'
    f' {results.resolution} px, step {results.step}',
    f'{"":<16}{"l1":>10}{"l1_hole":>10}{"ms_ssim":>10}',
  ]
  rows = {results.model: results.metrics} | results.baselines
  for name, values in rows.items():
    cells = (values[metric] for metric in ('l1', 'l1_hole', 'ms_ssim'))
    shown = ('-' if cell is None else f'{cell:.5f}' for cell in cells)
    lines.append(f'{name:<16}' + ''.join(f'{cell:>10}' for cell in shown))
  variant = results.metrics['ms_ssim_variant']
  lines.append(
    f'Smaller is better. Images in [0, 1]; ms_ssim is 1 - MS-SSIM ({variant}).'
  )
  return '\n'.join(lines)


def _progress(
  records: input_pipeline.Records, config: Config, split: str, batch_size: int
):
  positions = input_pipeline.evaluation_positions(records, split)
  with tqdm(total=len(positions), unit='img', desc=f'{split}') as bar:
    for batch in input_pipeline.evaluation_batches(
      records, split, config.resolution, batch_size
    ):
      yield batch
      bar.update(len(batch.filenames))


def _write_sheet(
  batch: input_pipeline.EvaluationBatch,
  mask: np.ndarray,
  results: dict[str, np.ndarray],
  path: pathlib.Path,
) -> None:
  columns = {
    'reference': batch.inputs['reference'],
    'input': sheet.hole(batch.inputs['image'], mask),
    'result': results['model'],
  }
  if batch.has_truth.any():
    columns['original'] = batch.truth
  columns |= {k: v for k, v in results.items() if k != 'model'}
  # Spread over the batch: neighbours are the same person.
  count = len(batch.filenames)
  rows = np.unique(np.linspace(0, count - 1, SHEET_ROWS).astype(int))
  shown = {name: images[rows] for name, images in columns.items()}
  places = {name: batch.inputs[name][rows] for name in sheet.PLACES}
  sheet.save(sheet.make_sheet(shown, places, side=160), path)


def _provenance(
  config: Config, params: Any, records: input_pipeline.Records
) -> dict[str, Any]:
  device = jax.devices()[0]
  return {
    'versions': {
      'python': platform.python_version(),
      **{name: _version(name) for name in PACKAGES},
    },
    'dataset_version': records.version,
    'records_sha256': records.fingerprint(),
    'config_sha256': config_lib.fingerprint(config),
    'weights_sha256': weights_hash(params),
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
