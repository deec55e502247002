"""The builder that the three data sets share."""

import abc
import contextlib
import dataclasses
import functools
import logging
import os
import pathlib
import sys
import types
from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from exgan_jax.errors import InputError
from exgan_jax.face_records import progress, record
from tfds_celeb_id import records, spill, work

# Loaded only where the `tfds` command runs.
_TFDS_COMMAND = 'tensorflow_datasets.scripts.cli.build'

_logger = logging.getLogger(__name__)


class RecordsBuilder(
  tfds.core.ShardBasedBuilder,
  skip_registration=True,  # type: ignore[call-arg]  # TFDS has no types.
):
  """Builds records from the entries that a data set yields.

  Shards are written in order and one by one: TFDS's other kind of builder would
  collect a whole split in memory, and turn to TensorFlow beyond a gigabyte.
  Until all pictures are seen, and so it is known which are of use, they lie in
  a temporary file, as large as the records.
  """

  SIZE: int
  HOMEPAGE: str | None = None
  EXTRA_FEATURES: ClassVar[Mapping[str, Any]] = types.MappingProxyType({})
  # Whether `train` holds people with a single picture, too.
  KEEP_SINGLES = False

  def __init__(
    self, *, file_format: Any = None, workers: int | None = None, **kwargs
  ):
    """Opens the data set, which may be built already.

    Args:
      file_format: of the records; `array_record` unless they exist already.
      workers: processes that work on pictures; None means one for each core,
        0 that this one does. The records are the same.
      **kwargs: for TFDS, `data_dir` above all.
    """
    super().__init__(file_format=file_format, **kwargs)
    self._workers = workers
    if file_format is None and not self.data_path.exists():
      self.info.set_file_format('array_record', override=True)

  @abc.abstractmethod
  def _work(self, dl_manager: tfds.download.DownloadManager) -> work.Work:
    """Returns what is to be done for every picture."""

  def _parameters(self) -> dict[str, Any]:
    """Returns what the records depend on and the version does not tell."""
    return {}

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=records.features(self.SIZE, **self.EXTRA_FEATURES),
      disable_shuffling=True,
      homepage=self.HOMEPAGE,
      metadata=tfds.core.MetadataDict(),
    )

  def download_and_prepare(self, **kwargs) -> None:
    """Builds the records unless they exist; arguments as in TFDS.

    Raises:
      InputError: the input cannot be used, or the records cannot be written.
        Under the `tfds` command it ends the program with one line and code 2.
    """
    config = kwargs.get('download_config')
    self._manual_dir = config.manual_dir if config else None
    new = [folder for folder in self._folders_of_tfds() if not folder.exists()]
    try:
      self._check_parameters(config)
      super().download_and_prepare(**kwargs)
    except (InputError, OSError) as error:
      for folder in new:
        with contextlib.suppress(OSError):  # It holds something, or is gone.
          os.rmdir(folder)
      if isinstance(error, OSError):
        error = InputError(f'cannot write {self.data_dir}: {error}')
      if _TFDS_COMMAND not in sys.modules:
        raise error from error.__cause__
      print(f'{self.name}: {error}', file=sys.stderr)
      sys.exit(2)

  def _manual_folder(
    self, dl_manager: tfds.download.DownloadManager, instruction: str = ''
  ) -> str | None:
    """Returns the manual directory, None if the default one holds nothing.

    Args:
      dl_manager: knows where it is.
      instruction: what to do about it; with one, None is not returned.

    Raises:
      InputError: there is none, although it was named or there has to be one.
    """
    try:
      folder = os.fspath(dl_manager.manual_dir)
    except AssertionError as error:  # TFDS's answer to a missing one.
      if not (instruction or self._manual_dir):
        return None
      message = str(error).partition('. ')[0]
      raise InputError(f'{message}{instruction and ": " + instruction}') from (
        error
      )
    except NotADirectoryError as error:
      raise InputError(f'{self._manual_dir} is not a folder') from error
    return folder

  def _folders_of_tfds(self) -> list[pathlib.Path]:
    """Returns the folders that TFDS makes before it knows if it can build."""
    downloads = self.data_dir_root / 'downloads'
    return [
      downloads / 'extracted',
      downloads,
      self.data_path.parent,
      self.data_dir_root,
    ]

  def _check_parameters(self, config) -> None:
    """Raises InputError if records exist that were built otherwise."""
    replaced = config is not None and config.download_mode.overwrite_dataset
    if not self.data_path.exists() or replaced:
      return
    if not self._parameters():
      _logger.warning('%s exists and is used as it is.', self.data_dir)
    built = self.info.metadata
    for name, value in self._parameters().items():
      if built.get(name) != value:
        raise InputError(
          f'{self.data_dir} was built with {name}={built.get(name)}, not '
          f'{value}: remove it or choose another --data_dir'
        )

  def _example_writer(self):
    return DeterministicWriter(file_format=self.info.file_format)

  def _shard_iterators_per_split(self, dl_manager):
    self._spill = spill.Spill(self.data_path)
    splits, rejected = self._collect(self._work(dl_manager))
    # TFDS cannot write an empty split.
    shards = {
      split: list(records.shards(placed))
      for split, placed in splits.items()
      if placed
    }
    self._describe(records.count(splits), rejected)
    return {
      split: [functools.partial(self._examples, shard) for shard in shards]
      for split, shards in shards.items()
    }

  def _download_and_prepare(self, dl_manager, download_config=None):
    config = download_config or tfds.download.DownloadConfig()
    try:
      if config.beam_options or config.beam_runner:
        self._build_with_beam(dl_manager, config)
      else:
        super()._download_and_prepare(dl_manager, download_config)
    except RuntimeError as error:
      # ArrayRecord's way to say that the disk is full; it names the file.
      if os.fspath(self.data_path) not in str(error):
        raise
      raise OSError(str(error).partition(';')[0]) from error
    finally:
      if hasattr(self, '_spill'):
        self._spill.close()

  def _build_with_beam(self, dl_manager, config):
    from tfds_celeb_id import beam  # Apache Beam belongs to the extra `build`.

    task = self._work(dl_manager)
    self._metadata = task.metadata
    built = beam.build(
      task,
      beam.Output(
        self.info.features,
        self._example_writer(),
        {split: self._get_filename_template(split) for split in record.SPLITS},
      ),
      keep_singles=self.KEEP_SINGLES,
      options=config.beam_options,
      runner=config.beam_runner,
    )
    self._check_any(built.counts, len(task.items), built.rejected)
    self.info.set_splits(tfds.core.SplitDict(built.splits))
    self._describe(built.counts, built.rejected)

  def _collect(self, task):
    """Works through all pictures; returns the splits and what is in none."""
    entries, rejected = [], []
    self._metadata = task.metadata
    results = work.results(task, self._workers)
    for each in progress.bar(
      results,
      total=len(task.items),
      desc=self.name,
      unit=' pictures',
      smoothing=0.05,
    ):
      if isinstance(each, records.Rejected):
        rejected.append(each)
      else:
        spans = {k: self._spill.put(data) for k, data in each.blobs.items()}
        entries.append(dataclasses.replace(each, blobs=spans))
    splits, unpaired = records.arrange(entries, self.KEEP_SINGLES)
    rejected += unpaired
    self._check_any(records.count(splits), len(task.items), rejected)
    return splits, rejected

  def _check_any(self, counts, number, rejected):
    if not any(count['records'] for count in counts.values()):
      raise InputError(
        f'none of {number} pictures can be used: {_listing(rejected)}'
      )

  def _describe(self, counts, rejected):
    """Puts the counts into the log and into the data set's metadata."""
    records.write_rejected(rejected, self.data_path / 'rejected.jsonl')
    self.info.metadata.update(
      self._parameters(),
      **self._metadata,
      counts=counts,
      rejected=records.count_reasons(rejected),
    )
    for split, count in counts.items():
      _logger.info(
        '%s: %d records of %d identities',
        split,
        count['records'],
        count['identities'],
      )
      if not count['records']:
        _logger.warning('There is no split %s: too few people.', split)
    _logger.info('Rejected: %s', _listing(rejected) or 'nothing')

  def _examples(self, shard: list[records.Placed]):
    for placed in shard:
      yield records.key(placed), records.example(placed, self._spill.get)


class DeterministicWriter(tfds.core.writer.ExampleWriter):
  """Writes records whose bytes follow from what they hold.

  A record is a map, and protobuf writes the members of a map in an order that
  differs from process to process unless it is asked not to.
  """

  def write(self, path, examples):
    """Writes one shard; arguments as in TFDS."""
    return super().write(
      path, ((key, records.canonical(example)) for key, example in examples)
    )


def _listing(rejected: list[records.Rejected]) -> str:
  return ', '.join(
    f'{count} {reason}'
    for reason, count in records.count_reasons(rejected).items()
  )
