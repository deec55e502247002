"""The training input pipeline: records to identity pairs to uint8 batches.

Records of one person are adjacent and store their index and count, so the
position of a partner is arithmetic. People with a single picture come last.
The order is shuffled globally before it is split between processes, so the
global batch of a step does not depend on their number.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import grain
import numpy as np

from exgan_jax.config import Config
from exgan_jax.errors import InputError
from exgan_jax.face_records import folder, parallel
from exgan_jax.face_records.codec import decode, scale_of, scale_points, side_of
from exgan_jax.face_records.example import parse
from exgan_jax.face_records.record import Record

logger = logging.getLogger(__name__)

Example = dict[str, np.ndarray]
# A target picture and its reference, if the preset uses one.
Drawn = tuple[Record, Record | None]
# Fewer threads would wait for a slow disk, more for the interpreter lock.
_LEAST_THREADS, _MOST_THREADS = 4, 16
# Prefetched batches in addition to one per thread.
_READY_BATCHES = 4


class Records:
  """Random access to the records of a split.

  Args:
    data_dir: folder of the built data sets.
    dataset: name of the data set.
    split: name of the split.

  Attributes:
    version: of the data set.

  Raises:
    InputError: the data set or split does not exist or is empty.
  """

  def __init__(self, data_dir: str, dataset: str, split: str):
    self._folder = folder.version_folder(data_dir, dataset)
    self.version = self._folder.name
    shards = folder.shards(self._folder, dataset, split)
    try:
      # Offsets in memory take eight bytes per record.
      self._source = grain.sources.ArrayRecordDataSource(
        shards, reader_options={'index_storage_option': 'in_memory'}
      )
    except (RuntimeError, ValueError, OSError) as error:
      raise InputError(f'cannot read {self._folder}: {error}') from error
    self._paths = [
      each.filename if isinstance(each, folder.Shard) else each
      for each in shards
    ]
    if not len(self._source):
      raise InputError(f'the {split} split of {dataset} is empty')

  def __len__(self) -> int:
    return len(self._source)

  @functools.cached_property
  def paired(self) -> int:
    """Number of leading records whose person has another picture."""
    return bisect.bisect_left(
      range(len(self)), True, key=lambda i: self[i].identity_size == 1
    )

  def __getitem__(self, position: int) -> Record:
    """Reads the record at a position in [0, len).

    Raises:
      InputError: it is damaged.
    """
    record = parse(self._read(position))
    start = position - record.index_in_identity
    if start < 0 or start + record.identity_size > len(self):
      raise InputError(f'{record.filename}: its person is not in the split')
    return record

  def _read(self, position: int) -> bytes:
    # The data source opens its files on the first read.
    try:
      return self._source[position]
    except (RuntimeError, ValueError, LookupError, OSError) as error:
      message = str(error).partition('\n')[0]
      raise InputError(
        f'cannot read record {position} in {self._folder}: {message}'
      ) from error

  def is_there(self) -> bool:
    """Returns whether the files exist; open ones can be read without."""
    return all(os.path.exists(path) for path in self._paths)

  def check_resolution(self, resolution: int, warn: bool = False) -> None:
    """Checks that the stored pictures are large enough.

    With `warn` it logs a warning if they are not.

    Raises:
      InputError: they were packed for a smaller resolution; the data set that
        they were made from has larger ones.
    """
    first = self[0]
    side = _named(first, side_of, first.image)
    if resolution <= side:
      return
    if folder.packed(self._folder):
      raise InputError(
        f'{self._folder} was packed at {side} px; for --resolution'
        f' {resolution} use the data set that it was made from'
      )
    if warn:
      logger.warning(
        'the pictures in %s have %d px and are enlarged to %d',
        *(self._folder, side, resolution),
      )

  def fingerprint(self) -> str:
    """Returns a hash of a few records, to recognize the split."""
    digest = hashlib.sha256(f'{self.version} {len(self)}'.encode())
    for position in (0, len(self) // 2, len(self) - 1):
      digest.update(self._read(position))
    return digest.hexdigest()

  def digest(self, positions: Sequence[int]) -> str:
    """Returns a hash of the full content of some records."""
    digest = hashlib.sha256(f'{self.version} {len(positions)}'.encode())
    for position in positions:
      digest.update(hashlib.sha256(self._read(position)).digest())
    return digest.hexdigest()


def pair(target: Record, reference: Record, resolution: int) -> Example:
  """Returns one example: a picture and a reference image of the same person.

  Returns:
    `image`, `reference`: uint8 [resolution, resolution, 3]; `eyes`, `boxes`,
    `reference_eyes`, `reference_boxes`: float32 [2, 2] in pixels of that
    resolution; `corners`, `reference_corners`: float32 [4, 2], NaN if unknown;
    `valid`: true.

  Raises:
    InputError: a picture is damaged.
  """
  batch = collate([(target, reference)], resolution)
  return {name: array[0] for name, array in batch.items()}


def collate(
  drawn: Sequence[Drawn], resolution: int, mark_self: bool = False
) -> Example:
  """Decodes pairs to a batch, with the arrays of `pair` stacked.

  Without references their arrays are left out. `mark_self` adds `is_self`, bool
  [b], true if picture and reference are the same record.

  Raises:
    InputError: a picture is damaged.
  """
  batch = _collate([target for target, _ in drawn], resolution)
  references = [reference for _, reference in drawn if reference]
  if references:
    shown = _collate(references, resolution)
    batch |= {_of_reference(name): array for name, array in shown.items()}
  if mark_self:
    batch['is_self'] = np.array([one is other for one, other in drawn])
  return batch | {'valid': np.ones(len(drawn), np.bool_)}


def _collate(records: Sequence[Record], resolution: int) -> Example:
  count = len(records)
  images = np.empty((count, resolution, resolution, 3), np.uint8)
  sides = [
    _named(record, decode, record.image, resolution, image)[1]
    for record, image in zip(records, images, strict=True)
  ]
  scale = np.array([scale_of(resolution, side) for side in sides])
  scale = scale.reshape(count, 1, 1)
  return {
    'image': images,
    'eyes': scale_points(np.stack([r.eyes for r in records]), scale),
    'corners': scale_points(np.stack([r.corners for r in records]), scale),
    'boxes': np.stack([r.boxes for r in records]) * scale,
  }


def _named(record: Record, function: Callable[..., Any], *arguments: Any):
  """Calls a function and adds the record's name to its InputError."""
  try:
    return function(*arguments)
  except InputError as error:
    raise InputError(f'{record.filename}: {error}') from error


def batch_shapes(config: Config) -> dict[str, tuple[tuple[int, ...], type]]:
  """Returns shape and type of each array of one training example."""
  side = config.resolution
  one: dict[str, tuple[tuple[int, ...], type]] = {
    'image': ((side, side, 3), np.uint8),
    'eyes': ((2, 2), np.float32),
    'corners': ((4, 2), np.float32),
    'boxes': ((2, 2), np.float32),
  }
  shapes = dict(one)
  if config.exemplar != 'none':
    shapes |= {_of_reference(name): shape for name, shape in one.items()}
  if config.self_reference:
    shapes['is_self'] = (), np.bool_
  shapes['valid'] = (), np.bool_
  return shapes


def _of_reference(name: str) -> str:
  """Returns the name of the reference's array, given the picture's."""
  return 'reference' if name == 'image' else f'reference_{name}'


def check_paired(record: Record) -> None:
  """Raises InputError if the person has no other picture."""
  if record.identity_size < 2:
    raise InputError(f'{record.filename} has no other picture of its person')


class RandomPair(grain.transforms.RandomMap):
  """Maps a position to its record and a random other one of the person."""

  def __init__(self, records: Records):
    self._records = records

  def random_map(self, position: int, rng: np.random.Generator) -> Drawn:
    target = self._records[position]
    check_paired(target)
    start = position - target.index_in_identity
    other = int(rng.integers(target.identity_size - 1))
    other += other >= target.index_in_identity
    return target, self._records[start + other]


def train_batches(
  config: Config, process_index: int = 0, process_count: int = 1
) -> grain.DatasetIterator:
  """Returns an endless iterator over this process's part of global batches.

  A batch holds the stacked arrays of `batch_shapes`. Presets without reference
  images get the same pictures in the same order. A share of `self_reference`
  pairs uses one picture twice, drawn from all records; the others are two
  pictures of one person. The iterator's `get_state` and `set_state` save and
  restore its position.

  Raises:
    InputError: the data set does not exist, was packed for a smaller
      resolution, or nobody in it has two pictures although pairs are needed.
  """
  records = Records(config.data_dir, config.dataset, 'train')
  records.check_resolution(config.resolution, warn=True)
  # The reader threads already use all cores.
  cv2.setNumThreads(1)
  collate_batch = functools.partial(
    collate,
    resolution=config.resolution,
    mark_self=config.self_reference > 0,
  )
  # A thread decodes whole batches in place: nothing is copied in between, and
  # threads seldom have to synchronize.
  dataset = _pairs(config, records).batch(
    config.batch_size // process_count,
    drop_remainder=True,
    batch_fn=collate_batch,
  )
  # Batch n of process p is local batch n * process_count + p.
  dataset = dataset[process_index::process_count]
  threads = reader_threads(config.reader_threads)
  options = grain.ReadOptions(
    num_threads=threads, prefetch_buffer_size=threads + _READY_BATCHES
  )
  return iter(dataset.to_iter_dataset(options))


def _pairs(config: Config, records: Records) -> grain.MapDataset:
  """Returns the shuffled pairs of all processes."""

  def shuffled(count: int, seed: int) -> grain.MapDataset:
    return grain.MapDataset.range(count).seed(seed).shuffle().repeat()

  def itself(position: int) -> Drawn:
    record = records[position]
    return record, record

  share = config.self_reference
  if share:
    # A seed that no run has; the other order would show pictures twice in a
    # row.
    selves = shuffled(len(records), config.seed + 2**31).map(itself)
    if share == 1:
      return selves
  if not records.paired:
    advice = ''
    if config.exemplar == 'image':
      advice = ', or use --self-reference 1 to train on single pictures'
    raise InputError(
      f'nobody in the train split of {config.dataset} has two pictures: add'
      f' some{advice}'
    )
  dataset = shuffled(records.paired, config.seed)
  if config.exemplar == 'none':
    return dataset.map(lambda position: (records[position], None))
  dataset = dataset.random_map(RandomPair(records))
  if share:
    dataset = grain.MapDataset.mix([dataset, selves], [1 - share, share])
  return dataset


def reader_threads(requested: int) -> int:
  """Returns the number of reader threads; 0 chooses by the CPU cores."""
  if requested:
    return requested
  return max(_LEAST_THREADS, min(parallel.cpu_count(), _MOST_THREADS))
