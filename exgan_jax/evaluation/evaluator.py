"""Evaluates checkpoints of a run; what is compiled serves for all of them."""

from __future__ import annotations

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils

from exgan_jax import config as config_lib
from exgan_jax import contact_sheet
from exgan_jax.data import eval_batches, train_batches
from exgan_jax.data.eval_batches import EvaluationBatch, Listing
from exgan_jax.errors import InputError
from exgan_jax.evaluation import collect, metrics, real_statistics
from exgan_jax.evaluation.collect import Scores
from exgan_jax.evaluation.compressor_evaluation import CompressorEvaluation
from exgan_jax.evaluation.gallery import SUFFIX, Gallery
from exgan_jax.evaluation.inception_features import (
  Extractor,
  Gaussians,
  make_extractor,
)
from exgan_jax.evaluation.metrics import bootstrap, frechet_sampling
from exgan_jax.evaluation.metrics.inception_score import SHUFFLE_SEED, SPLITS
from exgan_jax.evaluation.options import Options
from exgan_jax.evaluation.painter_evaluation import (
  MODEL,
  ORIGINAL,
  PainterEvaluation,
)
from exgan_jax.evaluation.results import Results, provenance_of, weights_hash
from exgan_jax.face_records import progress
from exgan_jax.models.networks import Model, Params
from exgan_jax.runtime import sharding
from exgan_jax.training.checkpoint import Checkpoints, restore_encoder

logger = logging.getLogger(__name__)

NO_PICTURE = 'a compressor paints no picture'


def provenance_of_intervals(units: str) -> dict[str, Any]:
  """How intervals are found; of whom people or pictures are drawn."""
  drawn = {'level': bootstrap.LEVEL, 'of': units, 'seed': bootstrap.SEED}
  return {
    'means': {'resamples': bootstrap.RESAMPLES, 'kind': 'percentiles'},
    'frechet': {
      'resamples': frechet_sampling.RESAMPLES,
      'kind': f'{frechet_sampling.DEVIATIONS} standard deviations',
    },
    **drawn,
  }


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What an evaluation found, and what it looked at.

  Attributes:
    results: the numbers.
    gallery: some pictures.
    listing: which pictures were evaluated.
    scores: of each picture, of the model under the name '' and the baselines.
  """

  results: Results
  gallery: Gallery
  listing: Listing
  scores: dict[str, Scores]

  def save(self, output: str | pathlib.Path) -> None:
    """Writes the results, and beside them a sheet, pictures, and a CSV file.

    Raises:
      OSError: they cannot be written.
    """
    output = pathlib.Path(output)
    shown, places = self.gallery.columns, self.gallery.places
    contact_sheet.save(
      contact_sheet.make_sheet(shown, places, side=160),
      output.with_suffix('.png'),
    )
    self.gallery.save(output.with_suffix(SUFFIX))
    if self.scores:
      titles = {
        'picture': range(len(self.listing.filenames)),
        'filename': self.listing.filenames,
        'identity': self.listing.identities,
      }
      collect.save_csv(output.with_suffix('.csv'), titles, self.scores)
    # Last: what follows a run takes it as the sign that all is there.
    self.results.save(output)


class Evaluator:
  """Evaluates checkpoints of one run.

  Args:
    workdir: folder of the run.
    data_dir: folder of the built data sets.
    options: how.

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
    positions = eval_batches.evaluation_positions(self._records, split)
    self._positions = positions
    self._extractor = make_extractor(
      self._mesh, options.inception, options.unverified_inception
    )
    self._coder, self._encoder = config, None
    if options.compressor is not None:
      self._coder, self._encoder = restore_encoder(
        options.compressor, config, self._mesh, 'resolution'
      )
    if config.preset == 'compressor':
      self._evaluation = CompressorEvaluation(config, self._mesh)
    else:
      self._evaluation = PainterEvaluation(
        config, self._mesh, self._coder, self._extractor,
        with_baselines=options.baselines,
      )  # fmt: skip
    self._listing = eval_batches.listing(self._records, positions)
    self._originals = self._kept_originals()

  def restore(self, step: int | None = None) -> tuple[int, Model]:
    """Reads a checkpoint, that of a step or the newest.

    Raises:
      MissingCheckpointError: there is none that can be read.
      InputError: it does not fit the configuration.
    """
    with Checkpoints(self._workdir) as checkpoints:
      return checkpoints.restore_model(self.config, self._mesh, step)

  def __call__(
    self, step: int, model: Model, folder: pathlib.Path | None = None
  ) -> Evaluation:
    """Evaluates what `restore` returned.

    Args:
      step: of the checkpoint.
      model: what it holds.
      folder: where to write every picture, if anywhere.

    Raises:
      InputError: a record is damaged.
      OSError: pictures or statistics cannot be written.
    """
    encoder = self._encoder
    if self.config.preset == 'compressor':
      protocol, encoder = 'none', model.generator['encoder']
      found, gallery = self._evaluation(model, self._batches(), self._listing)
      skipped = dict.fromkeys(('fid', 'inception_score'), NO_PICTURE)
      found = {MODEL: found | dict.fromkeys(skipped)}
      intervals, of_each = {}, {}
    else:
      protocol = self._options.protocol
      # A code model has an encoder of its own.
      encoder = encoder or model.encoder or None
      of_each, found, intervals, skipped, gallery = self._paint(
        model, encoder, folder
      )
    results = Results(
      model=self.config.preset,
      step=step,
      dataset=self.config.dataset,
      split=self._options.split,
      resolution=self.config.resolution,
      num_images=len(self._positions),
      protocol=protocol,
      metrics=found.pop(MODEL),
      skipped=skipped,
      baselines=found,
      provenance=provenance_of(self.config, model, self._records, encoder)
      | self._how(),
      intervals=intervals,
    )
    return Evaluation(results, gallery, self._listing, of_each)

  def _paint(
    self, model: Model, encoder: Params | None, folder: pathlib.Path | None
  ) -> tuple:
    pass_ = self._evaluation(
      model,
      encoder,
      self._batches(),
      self._listing,
      look_at_originals=self._originals is None,
      folder=folder,
    )
    if self._extractor is not None and self._originals is None:
      self._originals = pass_.seen[ORIGINAL].gaussians
      self._keep_originals()
    people = self._listing.people
    variant = metrics.ms_ssim_variant(self.config.resolution)
    skipped = pass_.scores[MODEL].skipped(has_encoder=encoder is not None)
    found, intervals = {}, {}
    for name, score in pass_.scores.items():
      of_network, spread, reasons = pass_.seen[name].metrics(
        self._originals, self._extractor, people
      )
      found[name] = score.compute(variant) | of_network
      intervals[name] = score.intervals(people) | spread
      skipped |= reasons
    of_each = {
      '' if name == MODEL else name: score
      for name, score in pass_.scores.items()
    }
    return of_each, found, intervals, skipped, pass_.gallery

  def _batches(self) -> Iterator[EvaluationBatch]:
    total, done = len(self._positions), 0
    is_first = jax.process_index() == 0
    with progress.bar(
      total=total, unit='img', desc=self._options.split, disable=not is_first
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
        new = min(self._batch_size, total - done)
        done += new
        bar.update(new)

  def _how(self) -> dict[str, Any]:
    """What of the results' provenance is the evaluation's."""
    extractor: Extractor | None = self._extractor
    return {
      'inception_sha256': extractor.sha256 if extractor else None,
      'inception_score': {'splits': SPLITS, 'shuffle_seed': SHUFFLE_SEED},
      'intervals': provenance_of_intervals('people'),
    }

  @functools.cached_property
  def _encoder_sha256(self) -> str | None:
    """Of the compressor that was named, where it takes part."""
    if self._encoder is None or self.config.preset == 'compressor':
      return None
    return weights_hash(self._encoder)

  @functools.cached_property
  def _originals_provenance(self) -> dict[str, Any]:
    return {
      'dataset': self.config.dataset,
      'dataset_version': self._records.version,
      'split': self._options.split,
      'resolution': self.config.resolution,
      'num_images': len(self._positions),
      'records_sha256': self._records.digest(range(len(self._records))),
      'inception_sha256': self._extractor.sha256,
    }

  def _originals_path(self) -> pathlib.Path:
    if self._options.real_statistics is not None:
      return pathlib.Path(self._options.real_statistics)
    return real_statistics.cached(self._originals_provenance)

  def _kept_originals(self) -> Gaussians | None:
    """The originals' statistics where they have been kept."""
    if self._extractor is None:
      return None
    path, found = self._originals_path(), None
    if path.is_file():
      try:
        found = real_statistics.load(path, self._originals_provenance)
      except InputError as error:
        if self._options.real_statistics is not None:
          raise
        logger.warning('%s: it is made anew', error)
    if jax.process_count() > 1:
      # Either all of them look at the originals, or none.
      all_found = multihost_utils.process_allgather(found is not None)
      found = found if all_found.all() else None
    return found

  def _keep_originals(self) -> None:
    fewest = min(gaussian.count for gaussian in self._originals.values())
    if jax.process_index() or not fewest:
      return
    path = self._originals_path()
    try:
      real_statistics.save(path, self._originals, self._originals_provenance)
    except OSError as error:
      if self._options.real_statistics is not None:
        raise
      logger.warning('cannot keep %s: %s', path, error.strerror)

  def made(self, found: Results) -> bool:
    """Whether results are of this run, pictures and options."""
    extractor = self._extractor
    told = found.provenance
    # A compressor is compared with nothing.
    compared = bool(found.baselines) or self.config.preset == 'compressor'
    return (
      found.split == self._options.split
      and found.protocol in (self._options.protocol, 'none')
      and compared >= self._options.baselines
      and self._encoder_sha256 in (None, told.get('encoder_sha256'))
      and told.get('config_sha256') == config_lib.fingerprint(self.config)
      and told.get('records_sha256') == self._records.fingerprint()
      and told.get('inception_sha256')
      == (extractor.sha256 if extractor else None)
    )
