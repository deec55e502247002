"""The base class of the three builders."""

import abc
import contextlib
import dataclasses
import functools
import logging
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.face_records import progress, record
from tfds_celeb_id import records, spill, work

# Of the folders that TFDS builds in.
_INCOMPLETE = 'incomplete.'
# Only loaded under the `tfds` command.
_TFDS_COMMAND = 'tensorflow_datasets.scripts.cli.build'

_logger = logging.getLogger(__name__)


class RecordsBuilder(
  tfds.core.ShardBasedBuilder,
  skip_registration=True,  # type: ignore[call-arg]  # TFDS has no types.
):
  """Builds records from the entries of a data set.

  Shards are written in order, one at a time. TFDS's `GeneratorBasedBuilder`
  would hold a whole split in memory, and needs TensorFlow above a gigabyte.
  Which pictures are used is only known after all of them are processed. Until
  then they are in a temporary file as large as the records.
  """

  SIZE: int
  HOMEPAGE: str | None = None
  EXTRA_FEATURES: ClassVar[Mapping[str, Any]] = types.MappingProxyType({})
  # Whether `train` also holds people with a single picture.
  KEEP_SINGLES = False

  def __init__(
    self, *, file_format: Any = None, workers: int | None = None, **kwargs
  ):
    """Opens the data set, which may exist already.

    Args:
      file_format: of new records; `array_record` by default.
      workers: number of processes; None means one per core, 0 means only this
        one. The records do not depend on it.
      **kwargs: for TFDS, such as `data_dir`.
    """
    super().__init__(file_format=file_format, **kwargs)
    self._workers = workers
    self._spill: spill.Spill | None = None
    if file_format is None and not self.data_path.exists():
      self.info.set_file_format('array_record', override=True)

  @abc.abstractmethod
  def _work(self, dl_manager: tfds.download.DownloadManager) -> work.Work:
    """Returns the work for all pictures."""

  def _parameters(self) -> dict[str, Any]:
    """Returns settings that the records depend on."""
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
        The `tfds` command prints it on one line and exits with code 2.
    """
    config = kwargs.get('download_config')
    self._manual_dir = config.manual_dir if config else None
    # TFDS creates folders before it knows whether it can build.
    downloads = self.data_dir_root / 'downloads'
    created = [
      folder
      for folder in (
        *(downloads / 'extracted', downloads),
        *(self.data_path.parent, self.data_dir_root),
      )
      if not folder.exists()
    ]
    try:
      self._check_parameters(config)
      files.clear(self.data_path.parent, _INCOMPLETE)
      super().download_and_prepare(**kwargs)
    except (InputError, OSError) as error:
      for folder in created:
        with contextlib.suppress(OSError):  # It is not empty, or missing.
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
    """Returns the manual directory, or None if the default one is missing.

    Args:
      dl_manager: of TFDS.
      instruction: what to do if it is missing; then that is an error.

    Raises:
      InputError: it is missing, and was passed or is required.
    """
    try:
      return os.fspath(dl_manager.manual_dir)
    except AssertionError as error:  # Raised by TFDS if it is missing.
      if not (instruction or self._manual_dir):
        return None
      message = str(error).partition('. ')[0]
      raise InputError(': '.join(filter(None, (message, instruction)))) from (
        error
      )
    except NotADirectoryError as error:
      raise InputError(f'{self._manual_dir} is not a folder') from error

  def _check_parameters(self, config) -> None:
    """Raises InputError if records with other parameters exist."""
    replaced = config is not None and config.download_mode.overwrite_dataset
    if not self.data_path.exists() or replaced:
      return
    if not self._parameters():
      _logger.warning('%s exists and is not rebuilt.', self.data_dir)
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
    task = self._work(dl_manager)
    self._spill = spill.Spill(self.data_path)
    entries, rejected = [], []
    for each in progress.bar(
      work.results(task, self._workers),
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
    self._describe(task, records.count(splits), rejected + unpaired)
    return {
      split: [
        functools.partial(
          _examples,
          placed[start : start + records.RECORDS_PER_SHARD],
          self._spill.get,
        )
        for start in range(0, len(placed), records.RECORDS_PER_SHARD)
      ]
      for split, placed in splits.items()
      if placed  # TFDS cannot write an empty split.
    }

  def _download_and_prepare(self, dl_manager, download_config=None):
    config = download_config or tfds.download.DownloadConfig()
    mark = contextlib.ExitStack()
    if os.path.isdir(self.data_path):  # Not in a bucket.
      mark.enter_context(files.held(self.data_path))
    try:
      if config.beam_options or config.beam_runner:
        self._build_with_beam(dl_manager, config)
      else:
        super()._download_and_prepare(dl_manager, download_config)
    except RuntimeError as error:
      # ArrayRecord raises it if the disk is full, and names the file.
      if os.fspath(self.data_path) not in str(error):
        raise
      raise OSError(str(error).partition(';')[0]) from error
    finally:
      mark.close()
      if self._spill:
        self._spill.close()

  def _build_with_beam(self, dl_manager, config):
    from tfds_celeb_id import beam  # Apache Beam belongs to the extra `build`.

    task = self._work(dl_manager)
    output = beam.Output(
      self.info.features,
      self._example_writer(),
      {split: self._get_filename_template(split) for split in record.SPLITS},
    )
    built = beam.build(
      task,
      output,
      keep_singles=self.KEEP_SINGLES,
      options=config.beam_options,
      runner=config.beam_runner,
    )
    self._describe(task, built.counts, built.rejected)
    self.info.set_splits(tfds.core.SplitDict(built.splits))

  def _describe(
    self,
    task: work.Work,
    counts: dict[str, dict[str, int]],
    rejected: list[records.Rejected],
  ) -> None:
    """Writes the counts to the log and to the metadata of the data set."""
    reasons = records.count_reasons(rejected)
    listed = ', '.join(f'{count} {reason}' for reason, count in reasons.items())
    if not any(count['records'] for count in counts.values()):
      raise InputError(
        f'none of {len(task.items)} pictures can be used: {listed}'
      )
    records.write_rejected(rejected, self.data_path / 'rejected.jsonl')
    self.info.metadata.update(
      self._parameters(), **task.metadata, counts=counts, rejected=reasons
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
    _logger.info('Rejected: %s', listed or 'nothing')


def _examples(
  shard: Sequence[records.Placed], get: Callable[[spill.Span], bytes]
) -> Iterator[tuple[str, dict[str, Any]]]:
  for placed in shard:
    yield records.key(placed), records.example(placed, get)


class DeterministicWriter(tfds.core.writer.ExampleWriter):
  """Writes records whose bytes only depend on their content.

  By default, protobuf serializes maps in an order that differs per process.
  """

  def write(self, path, examples):
    """Writes one shard; arguments as in TFDS."""
    return super().write(
      path,
      (
        (
          key,
          tf_example_pb2.Example.FromString(example).SerializeToString(
            deterministic=True
          ),
        )
        for key, example in examples
      ),
    )
