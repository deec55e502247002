"""The separate evaluator: a checkpoint and records in, results.json out.

Follows the paper's protocol: every picture of the split is in-painted once,
with the next picture of the same person as its reference, and the first one
for the last. Results are rounded to 8 bits before they are scored, as a saved
picture is, so that a score of the files gives the same numbers. Every picture
is painted a second time with a stranger's reference: what that costs is what
the model owes to the exemplar.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from exgan_jax import baselines as baselines_lib
from exgan_jax import config as config_lib
from exgan_jax import (
  evaluation_data,
  input_pipeline,
  masks,
  metrics,
  sharding,
  sheet,
)
from exgan_jax.checkpoint import Checkpoints, restore_encoder
from exgan_jax.config import Config
from exgan_jax.evaluation_data import EvaluationBatch
from exgan_jax.inception_scores import (
  Distribution,
  Extractor,
  make_extractor,
)
from exgan_jax.results import Results, provenance_of
from exgan_jax.scene import eye_codes, to_float
from exgan_jax.scores import Metrics, Scores, score_batch
from exgan_jax.state import Model, Params
from exgan_jax.train_step import make_paint_step
from tfds_celeb_id import InputError, progress

SHEET_ROWS = 8
NO_PICTURE = 'a compressor paints no picture'

# What the sheet shows: a batch, and its pictures by the column's caption.
FirstBatch = tuple[EvaluationBatch, dict[str, np.ndarray]]


def evaluate(
  workdir: str | pathlib.Path,
  data_dir: str | pathlib.Path,
  *,
  split: str = 'test',
  step: int | None = None,
  baselines: bool = False,
  references: int = 1,
  compressor: str | pathlib.Path | None = None,
  inception: str | pathlib.Path | None = None,
  unverified_inception: str | pathlib.Path | None = None,
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
    references: how many pictures of the person tell whose eyes to paint.
    compressor: workdir of a compressor for `code_distance`; by default the
      code model's own.
    inception: path of the published Inception weights, for FID and the
      Inception Score, or `download`.
    unverified_inception: path of other weights in that layout; the results
      then have other names.
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
  if references < 1:
    raise InputError('--references must be at least 1')
  records = input_pipeline.Records(str(data_dir), config.dataset, split)
  with Checkpoints(workdir) as checkpoints:
    step, model = checkpoints.restore_model(config, mesh, step)
  coder, encoder = config, model.encoder or None
  if config.preset == 'compressor':
    encoder = model.generator['encoder']
  elif compressor is not None:
    coder, encoder = restore_encoder(compressor, config, mesh, 'resolution')
  extractor = make_extractor(mesh, inception, unverified_inception)
  batches = _progress(records, config, split, batch_size, references)
  if config.preset == 'compressor':
    protocol = 'none'
    found, first = _evaluate_compressor(config, model, mesh, batches)
    skipped = dict.fromkeys(('fid', 'inception_score'), NO_PICTURE)
    found['model'] |= dict.fromkeys(skipped)
  else:
    protocol = 'next-image' if references == 1 else f'next-{references}-images'
    methods = baselines_lib.BASELINES if baselines else {}
    scores, seen, first = _evaluate_painter(
      config, model, mesh, batches, methods, coder, encoder, extractor
    )
    skipped = scores['model'].skipped(has_encoder=encoder is not None)
    found = {name: score.compute(config) for name, score in scores.items()}
    for name, values in found.items():
      of_inception, reasons = seen[name].metrics(seen['original'], extractor)
      found[name] = values | of_inception
      skipped |= reasons
  if sheet_path is not None:
    _write_sheet(*first, pathlib.Path(sheet_path))
  return Results(
    model=config.preset,
    step=step,
    dataset=config.dataset,
    split=split,
    resolution=config.resolution,
    num_images=len(evaluation_data.evaluation_positions(records, split)),
    protocol=protocol,
    metrics=found.pop('model'),
    skipped=skipped,
    baselines=found,
    provenance=provenance_of(config, model, records, encoder)
    | {'inception_sha256': extractor.sha256 if extractor else None},
  )


def _evaluate_painter(
  config: Config,
  model: Model,
  mesh: Mesh,
  batches: Iterator[EvaluationBatch],
  methods: Mapping[str, Callable],
  coder: Config,
  encoder: Params | None,
  extractor: Extractor | None,
) -> tuple[dict[str, Scores], dict[str, Distribution], FirstBatch]:
  """Scores the model and the baselines; keeps the pictures of a batch."""
  paint = jax.jit(make_paint_step(config), out_shardings=sharding.batched(mesh))
  score = jax.jit(functools.partial(score_batch, coder))
  scores = {name: Scores() for name in ('model', *methods)}
  seen = {name: Distribution() for name in ('original', *scores)}
  first = None
  for batch in batches:
    inputs = sharding.to_device(batch.inputs, mesh)
    stranger = sharding.to_device(batch.stranger, mesh)
    painted = paint(model, inputs)
    swapped = paint(model, inputs | stranger)
    # The baselines work on the host while the device paints.
    mask = sheet.mask_of(batch.inputs)
    others = {
      name: method(batch.shown, mask[..., 0])
      for name, method in methods.items()
    }
    painted, swapped = (
      sheet.to_uint8(np.asarray(result)) for result in (painted, swapped)
    )
    known = {
      'truth': batch.truth,
      'mask': mask,
      'eyes': batch.inputs['eyes'],
      'irises': batch.irises,
    }

    def score_of(pictures, known=known):
      compared = known | {'painted': pictures}
      return score(encoder, **sharding.to_device(compared, mesh))

    scores['model'].add(score_of(painted), batch)
    scores['model'].add_swapped(score_of(swapped), batch)
    for name, pictures in others.items():
      scores[name].add(score_of(pictures), batch)
    if extractor is not None:
      counted = batch.has_truth
      names = [
        name
        for name, counts in zip(batch.filenames, counted, strict=False)
        if counts
      ]
      for name, pictures in (
        *(('original', batch.truth), ('model', painted)),
        *others.items(),
      ):
        seen[name].add(extractor(pictures), counted, names)
    if first is None:
      first = batch, _columns(batch, mask, painted, swapped) | others
  return scores, seen, first


def _evaluate_compressor(
  config: Config,
  model: Model,
  mesh: Mesh,
  batches: Iterator[EvaluationBatch],
) -> tuple[dict[str, Metrics], FirstBatch]:
  """How well eyes come back from their codes, and codes tell people apart."""
  draw = jax.jit(make_paint_step(config), out_shardings=sharding.batched(mesh))

  @jax.jit
  def compare(model, inputs, drawn):
    image = to_float(inputs['image'])
    side = masks.eye_side(config.resolution)
    true, found = (
      masks.eye_crops(picture, inputs['eyes'], side)
      for picture in ((image + 1.0) / 2.0, drawn)
    )
    l1 = jnp.mean(jnp.abs(true - found), axis=(1, 2, 3, 4))
    encoder = model.generator['encoder']
    return l1, eye_codes(config, encoder, image, inputs['eyes'])

  mean, codes, identities, first = metrics.Mean(), [], [], None
  for batch in batches:
    inputs = sharding.to_device(batch.inputs, mesh)
    drawn = draw(model, inputs)
    first = first or (
      batch,
      {
        'original': batch.inputs['image'],
        'drawn': sheet.to_uint8(np.asarray(drawn)),
      },
    )
    l1, code = jax.device_get(compare(model, inputs, drawn))
    valid = batch.inputs['valid']
    mean = mean.merge(metrics.Mean.from_values(l1, valid))
    codes.append(code[valid])
    identities += batch.identities
  auc = metrics.verification_auc(np.concatenate(codes), identities)
  found = {
    'l1_eyes': mean.compute(),
    'verification_auc': auc,
  }
  return {'model': found}, first


def _progress(
  records: input_pipeline.Records,
  config: Config,
  split: str,
  batch_size: int,
  references: int,
) -> Iterator[EvaluationBatch]:
  positions = evaluation_data.evaluation_positions(records, split)
  with progress.bar(total=len(positions), unit='img', desc=f'{split}') as bar:
    for batch in evaluation_data.evaluation_batches(
      records, split, config.resolution, batch_size, references=references
    ):
      yield batch
      bar.update(len(batch.filenames))


def _columns(
  batch: EvaluationBatch,
  mask: np.ndarray,
  painted: np.ndarray,
  swapped: np.ndarray,
) -> dict[str, np.ndarray]:
  first = batch.shown
  columns = {
    'reference': first['reference'],
    'input': sheet.hole(first['image'], mask),
    'result': painted,
  }
  if batch.has_truth.any():
    columns['original'] = batch.truth
  columns['stranger'] = batch.stranger['reference']
  columns['after stranger'] = swapped
  return columns


def _write_sheet(
  batch: EvaluationBatch, columns: dict[str, np.ndarray], path: pathlib.Path
) -> None:
  # Spread over the batch: neighbours are the same person.
  count = len(batch.filenames)
  rows = np.unique(np.linspace(0, count - 1, SHEET_ROWS).astype(int))
  shown = {name: images[rows] for name, images in columns.items()}
  places = batch.shown | {'stranger_eyes': batch.stranger['reference_eyes']}
  places = {name: places[name][rows] for name in sheet.PLACES}
  sheet.save(sheet.make_sheet(shown, places, side=160), path)
