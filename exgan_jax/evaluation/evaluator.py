"""Evaluates checkpoints of one run, compiling only once."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax

from exgan_jax import config as config_lib
from exgan_jax import contact_sheet, files
from exgan_jax.data import eval_batches, train_batches
from exgan_jax.data.eval_batches import EvaluationBatch, Listing
from exgan_jax.evaluation import collect
from exgan_jax.evaluation.compressor_evaluation import CompressorEvaluation
from exgan_jax.evaluation.faces import Faces
from exgan_jax.evaluation.gallery import SUFFIX
from exgan_jax.evaluation.inception_features import (
  Originals,
  make_extractor,
)
from exgan_jax.evaluation.metrics import (
  bootstrap,
  frechet_sampling,
  two_sample,
)
from exgan_jax.evaluation.metrics.inception_score import SHUFFLE_SEED, SPLITS
from exgan_jax.evaluation.options import Options
from exgan_jax.evaluation.painter_evaluation import (
  MODEL,
  Found,
  PainterEvaluation,
)
from exgan_jax.evaluation.real_statistics import Store
from exgan_jax.evaluation.results import Results, provenance_of, weights_hash
from exgan_jax.face_records import progress
from exgan_jax.models import lpips
from exgan_jax.models.networks import Model
from exgan_jax.runtime import processes, sharding
from exgan_jax.training.checkpoint import Checkpoints, restore_encoder


def provenance_of_intervals(units: str) -> dict[str, Any]:
  """Describes how intervals are computed; `units` are what is resampled."""
  return {
    'means': {'resamples': bootstrap.RESAMPLES, 'kind': 'percentiles'},
    'frechet': {
      'resamples': frechet_sampling.RESAMPLES,
      'kind': f'{frechet_sampling.DEVIATIONS} standard deviations',
    },
    'level': bootstrap.LEVEL,
    'of': units,
    'seed': bootstrap.SEED,
  }


def networks_of(
  options: Options,
) -> tuple[lpips.Weights | None, Faces | None, dict[str, str | None]]:
  """Reads what compares images, and returns the hashes of the files.

  Raises:
    InputError: a file cannot be used.
  """
  names = ('lpips', 'face_landmarker', 'face_embedding')
  hashes: dict[str, str | None] = {f'{name}_sha256': None for name in names}
  alexnet = faces = None
  if options.lpips is not None:
    alexnet = lpips.load(options.lpips)
    data = files.read_bytes(options.lpips, lpips.MAX_BYTES)
    hashes['lpips_sha256'] = hashlib.sha256(data).hexdigest()
  if options.face_landmarker or options.face_embedding:
    faces = Faces(options.face_landmarker, options.face_embedding)
    hashes |= faces.sha256
  return alexnet, faces, hashes


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """The results of one checkpoint and everything saved beside them.

  Attributes:
    results: the content of results.json.
    listing: all images that were evaluated.
    found: the gallery and the values of each image.
  """

  results: Results
  listing: Listing
  found: Found

  def save(self, output: str | pathlib.Path) -> None:
    """Writes the results, and beside them a sheet, a gallery and a CSV file.

    Only the first process writes.

    Raises:
      OSError: a file cannot be written.
    """
    if not processes.is_first():
      return
    output, gallery = pathlib.Path(output), self.found.gallery
    sheet = contact_sheet.make_sheet(gallery.columns, gallery.places, side=160)
    contact_sheet.save(sheet, output.with_suffix('.png'))
    gallery.save(output.with_suffix(SUFFIX))
    if self.found.scores:
      titles = {
        'picture': range(len(self.listing.filenames)),
        'filename': self.listing.filenames,
        'identity': self.listing.identities,
      }
      scores = {
        '' if name == MODEL else name: score
        for name, score in self.found.scores.items()
      }
      collect.save_csv(output.with_suffix('.csv'), titles, scores)
    # Last, because `watch` takes it as the sign that everything is there.
    self.results.save(output)


class Evaluator:
  """Evaluates checkpoints of one run.

  Args:
    workdir: folder of the run.
    data_dir: folder of the built data sets.
    options: evaluation options.

  Raises:
    InputError: there is no such run, data set or split, an option does not
      fit, or the data set was packed for a smaller resolution.
  """

  def __init__(
    self,
    workdir: str | pathlib.Path,
    data_dir: str | pathlib.Path,
    options: Options,
  ):
    self._workdir, self._options = pathlib.Path(workdir), options
    config = config_lib.load(self._workdir / config_lib.FILENAME)
    self.config = config
    self._batch_size = sharding.divisible(options.batch_size)
    self._mesh = sharding.make_mesh(self._batch_size)
    split = options.split
    self._records = train_batches.Records(str(data_dir), config.dataset, split)
    self._records.check_resolution(config.resolution)
    self._positions = eval_batches.evaluation_positions(self._records, split)
    extractor = make_extractor(
      self._mesh, options.inception, options.unverified_inception
    )
    self._networks = {
      'inception_sha256': extractor.sha256 if extractor else None
    }
    coder, self._encoder = config, None
    if options.compressor is not None:
      coder, self._encoder = restore_encoder(
        options.compressor, config, self._mesh, 'resolution'
      )
    self._evaluation: CompressorEvaluation | PainterEvaluation
    self._is_compressor = config.preset == 'compressor'
    if self._is_compressor:
      self._evaluation = CompressorEvaluation(config, self._mesh)
    else:
      alexnet, faces, hashes = networks_of(options)
      self._networks |= hashes
      self._evaluation = PainterEvaluation(
        config,
        self._mesh,
        coder,
        extractor,
        with_baselines=options.baselines,
        alexnet=alexnet,
        faces=faces,
      )
    self._listing = eval_batches.listing(self._records, self._positions)
    self._store: Store | None = None
    self._originals: Originals | None = None
    if extractor:
      provenance = {
        'dataset': config.dataset,
        'dataset_version': self._records.version,
        'split': split,
        'resolution': config.resolution,
        'num_images': len(self._positions),
        'records_sha256': self._records.digest(range(len(self._records))),
        'inception_sha256': extractor.sha256,
      }
      self._store = Store(provenance, options.real_statistics)
      self._originals = self._store.load()

  def restore(self, step: int | None = None) -> tuple[int, Model]:
    """Reads the checkpoint of a step, by default the newest.

    Raises:
      MissingCheckpointError: there is no readable checkpoint.
      InputError: it does not fit the configuration.
    """
    with Checkpoints(self._workdir) as checkpoints:
      return checkpoints.restore_model(self.config, self._mesh, step)

  def __call__(
    self, step: int, model: Model, folder: pathlib.Path | None = None
  ) -> Evaluation:
    """Evaluates what `restore` returned.

    Args:
      step: step of the checkpoint.
      model: the restored model.
      folder: folder to write every image to.

    Raises:
      InputError: a record is damaged.
      OSError: images or statistics cannot be written.
    """
    if self._is_compressor:
      encoder = model.generator['encoder']
    else:
      # A code model has an encoder of its own.
      encoder = self._encoder or model.encoder or None
    found = self._evaluation(
      model,
      encoder,
      self._batches(),
      self._listing,
      originals=self._originals,
      folder=folder,
    )
    if self._store and not self._originals and found.originals:
      self._originals = found.originals
      self._store.save(found.originals)
    results = Results(
      model=self.config.preset,
      step=step,
      dataset=self.config.dataset,
      split=self._options.split,
      resolution=self.config.resolution,
      num_images=len(self._positions),
      protocol='none' if self._is_compressor else self._options.protocol,
      metrics=found.metrics[MODEL],
      skipped=found.skipped,
      baselines={
        name: values for name, values in found.metrics.items() if name != MODEL
      },
      provenance={
        **provenance_of(self.config, model, self._records, encoder),
        **self._networks,
        'inception_score': {'splits': SPLITS, 'shuffle_seed': SHUFFLE_SEED},
        'classifier': two_sample.provenance(),
        'intervals': provenance_of_intervals('people'),
      },
      intervals=found.intervals,
    )
    return Evaluation(results, self._listing, found)

  def _batches(self) -> Iterator[EvaluationBatch]:
    """Yields this process's part of each batch and shows the progress."""
    remaining = len(self._positions)
    with progress.bar(
      total=remaining,
      unit='img',
      desc=self._options.split,
      disable=not processes.is_first(),
    ) as bar:
      for batch in eval_batches.evaluation_batches(
        self._records,
        self._options.split,
        self.config.resolution,
        self._batch_size,
        positions=self._positions,
        references=self._options.references,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
      ):
        yield batch
        bar.update(min(self._batch_size, remaining))
        remaining -= self._batch_size

  @functools.cached_property
  def _encoder_sha256(self) -> str | None:
    """Hash of the compressor named in the options, if it is used."""
    if self._encoder is None or self._is_compressor:
      return None
    return weights_hash(self._encoder)

  def has_made(self, found: Results) -> bool:
    """Returns whether results are of this run, data and options."""
    provenance = found.provenance
    # A compressor has no baselines.
    compared = bool(found.baselines) or self._is_compressor
    return (
      found.split == self._options.split
      and found.protocol in (self._options.protocol, 'none')
      and compared >= self._options.baselines
      and self._encoder_sha256 in (None, provenance.get('encoder_sha256'))
      and provenance.get('config_sha256') == config_lib.fingerprint(self.config)
      and provenance.get('records_sha256') == self._records.fingerprint()
      and all(provenance.get(k) == sha for k, sha in self._networks.items())
    )
