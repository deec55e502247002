"""The builder that the three data sets share."""

import abc
import contextlib
import dataclasses
import functools
import logging
import os
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds
import tqdm

from tfds_celeb_id import records, spill
from tfds_celeb_id.errors import InputError

# TFDS keeps one shard in memory while it writes it: some 50 MB.
RECORDS_PER_SHARD = 2048

# Loaded only where the `tfds` command runs.
_TFDS_COMMAND = 'tensorflow_datasets.scripts.cli.build'

_logger = logging.getLogger(__name__)


class RecordsBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
  """Builds records from the entries that a data set yields.

  Shards are written in order and one by one: TFDS's other kind of builder would
  collect a whole split in memory, and turn to TensorFlow beyond a gigabyte.
  Until all pictures are seen, and so it is known which are of use, they lie in
  a temporary file, as large as the records.
  """

  SIZE: int
  EXTRA_FEATURES: Mapping[str, Any] = types.MappingProxyType({})

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
  def _entries(
    self, dl_manager: tfds.download.DownloadManager
  ) -> tuple[Iterator[records.Entry | records.Rejected], int]:
    """Returns every picture in order, and how many there are."""

  def _parameters(self) -> dict[str, Any]:
    """Returns what the records depend on and the version does not tell."""
    return {}

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=records.features(self.SIZE, **self.EXTRA_FEATURES),
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(),
    )

  def download_and_prepare(self, **kwargs) -> None:
    """Builds the records unless they exist; arguments as in TFDS.

    Raises:
      InputError: the input cannot be used, or the records cannot be written.
        Under the `tfds` command it ends the program with one line and code 2.
    """
    new = [folder for folder in self._folders_of_tfds() if not folder.exists()]
    try:
      self._check_parameters(kwargs.get('download_config'))
      super().download_and_prepare(**kwargs)
    except (InputError, OSError) as error:
      for folder in new:
        with contextlib.suppress(OSError):  # It holds something, or is gone.
          folder.rmdir()
      if isinstance(error, OSError):
        error = InputError(f'cannot write {self.data_dir}: {error}')
      if _TFDS_COMMAND not in sys.modules:
        raise error from error.__cause__
      print(f'{self.name}: {error}', file=sys.stderr)
      sys.exit(2)

  def _folders_of_tfds(self) -> list[os.PathLike]:
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

  def _shard_iterators_per_split(self, dl_manager):
    self._spill = spill.Spill(self.data_path)
    splits, rejected = self._collect(dl_manager)
    records.write_rejected(rejected, self.data_path / 'rejected.jsonl')
    self._describe(splits, rejected)
    # TFDS cannot write an empty split.
    return {
      split: [
        functools.partial(self._examples, shard)
        for shard in records.shards(placed, RECORDS_PER_SHARD)
      ]
      for split, placed in splits.items()
      if placed
    }

  def _download_and_prepare(self, *args, **kwargs):
    try:
      super()._download_and_prepare(*args, **kwargs)
    except RuntimeError as error:
      # ArrayRecord's way to say that the disk is full; it names the file.
      if os.fspath(self.data_path) not in str(error):
        raise
      raise OSError(str(error).partition(';')[0]) from error
    finally:
      if hasattr(self, '_spill'):
        self._spill.close()

  def _collect(self, dl_manager):
    """Works through all pictures; returns the splits and what is in none."""
    entries, rejected = [], []
    found, count = self._entries(dl_manager)
    for each in tqdm.tqdm(
      found, total=count, desc=self.name, unit=' pictures', smoothing=0.05
    ):
      if isinstance(each, records.Rejected):
        rejected.append(each)
      else:
        spans = {k: self._spill.put(data) for k, data in each.blobs.items()}
        entries.append(dataclasses.replace(each, blobs=spans))
    splits, unpaired = records.arrange(entries)
    rejected += unpaired
    if not any(splits.values()):
      raise InputError(
        f'none of {count} pictures can be used: {_listing(rejected)}'
      )
    return splits, rejected

  def _describe(self, splits, rejected):
    """Puts the counts into the log and into the data set's metadata."""
    counts = {
      split: {
        'identities': len({p.entry.identity for p in placed}),
        'records': len(placed),
      }
      for split, placed in splits.items()
    }
    self.info.metadata.update(
      self._parameters(),
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
      key = f'{placed.entry.filename} {placed.index_in_identity}'
      yield key, records.example(placed, self._spill)


def _listing(rejected: list[records.Rejected]) -> str:
  return ', '.join(
    f'{count} {reason}'
    for reason, count in records.count_reasons(rejected).items()
  )
