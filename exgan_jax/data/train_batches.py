"""Records to identity pairs to uint8 batches, with Grain.

Records of one person lie next to each other, and each knows its place and how
many they are, so the partner of a record is arithmetic on its position. Records
of people with a single picture come last. The order is shuffled globally and
only then dealt out to processes: the global batch at a step is the same for any
number of them.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import logging
from collections.abc import Sequence

import cv2
import grain
import numpy as np

from exgan_jax.config import Config
from exgan_jax.errors import InputError
from exgan_jax.face_records import folder, parallel
from exgan_jax.face_records.codec import decode, scale_of, scale_points, side_of
from exgan_jax.face_records.example import parse
from exgan_jax.face_records.folder import version_folder
from exgan_jax.face_records.record import Record

__all__ = [
  'Example', 'RandomPair', 'Records', 'batch_shapes', 'collate', 'decode',
  'pair', 'reader_threads', 'scale_points', 'side_of', 'train_batches',
  'version_folder',
]  # fmt: skip

logger = logging.getLogger(__name__)

Example = dict[str, np.ndarray]
# A picture, and another one of the person where it is of use, or itself.
Drawn = tuple[Record, Record | None]
# Offsets of records are kept in memory: eight bytes each.
_READER_OPTIONS = {'index_storage_option': 'in_memory'}
# Fewer would wait for a slow disk; more would wait for the interpreter.
_LEAST_THREADS, _MOST_THREADS = 4, 16
# Batches that may lie ready besides those that threads work on.
_READY_BATCHES = 4


class Records:
  """A split's records by position.

  Args:
    data_dir: folder of the built data sets.
    dataset: name of the data set.
    split: name of the split.

  Attributes:
    version: of the data set.

  Raises:
    InputError: the data set or the split is not there, or has no record.
  """

  def __init__(self, data_dir: str, dataset: str, split: str):
    self._folder = version_folder(data_dir, dataset)
    self.version = self._folder.name
    shards = folder.shards(self._folder, dataset, split)
    try:
      self._source = grain.sources.ArrayRecordDataSource(
        shards, reader_options=_READER_OPTIONS
      )
    except (RuntimeError, ValueError, OSError) as error:
      raise InputError(f'cannot read {self._folder}: {error}') from error
    if not len(self._source):
      raise InputError(f'the {split} split of {dataset} holds no record')

  def __len__(self) -> int:
    return len(self._source)

  @functools.cached_property
  def paired(self) -> int:
    """How many of the records, the first ones, have another of the person."""
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
      raise InputError(f'{record.filename} has its person outside of the split')
    return record

  def _read(self, position: int) -> bytes:
    # Files are opened when they are first read from.
    try:
      return self._source[position]
    except (RuntimeError, ValueError, LookupError, OSError) as error:
      message = str(error).partition('\n')[0]
      raise InputError(
        f'cannot read record {position} in {self._folder}: {message}'
      ) from error

  def check_resolution(self, resolution: int, warn: bool = False) -> None:
    """Checks that the stored pictures are as large as is asked for.

    Args:
      resolution: side in pixels.
      warn: of pictures that are smaller.

    Raises:
      InputError: they were packed for a smaller resolution, so that there are
        better ones.
    """
    first = self[0]
    side = _of(first, side_of, first.image)
    if resolution <= side:
      return
    if folder.packed(self._folder):
      raise InputError(
        f'{self._folder} was packed at {side} px: --resolution {resolution}'
        ' needs the data set that it was made of'
      )
    if warn:
      logger.warning(
        'the pictures in %s have %d px and are enlarged to %d',
        self._folder, side, resolution,
      )  # fmt: skip

  def fingerprint(self) -> str:
    """A hash that tells this split from another, from a few of its records."""
    digest = hashlib.sha256(f'{self.version} {len(self)}'.encode())
    for position in (0, len(self) // 2, len(self) - 1):
      digest.update(self._read(position))
    return digest.hexdigest()

  def digest(self, positions: Sequence[int]) -> str:
    """A hash of the records at some positions, all that they hold."""
    digest = hashlib.sha256(f'{self.version} {len(positions)}'.encode())
    for position in positions:
      digest.update(hashlib.sha256(self._read(position)).digest())
    return digest.hexdigest()


def pair(target: Record, reference: Record, resolution: int) -> Example:
  """One example of a batch: a picture and another one of the same person.

  Returns:
    `image`, `reference`: uint8 [resolution, resolution, 3]; `eyes`, `boxes`,
    `reference_eyes`, `reference_boxes`: float32 [2, 2] in pixels of that
    resolution; `corners`, `reference_corners`: float32 [4, 2], likewise, all
    NaN where they are not known; `valid`: true.

  Raises:
    InputError: a picture is damaged.
  """
  batch = collate([(target, reference)], resolution)
  return {name: array[0] for name, array in batch.items()}


def collate(
  drawn: Sequence[Drawn], resolution: int, tell_self: bool = False
) -> Example:
  """A batch of pairs: the arrays of `pair`, stacked.

  Pictures are decoded to where they stay. Without references their arrays are
  left out.

  Args:
    drawn: the pairs.
    resolution: side of the pictures in pixels.
    tell_self: add `is_self`, bool [b]: whether the reference is the picture.

  Raises:
    InputError: a picture is damaged.
  """
  targets, references = zip(*drawn, strict=True)
  batch = _collate(targets, resolution)
  if references[0] is not None:
    shown = _collate(references, resolution)
    batch |= {_of_reference(name): array for name, array in shown.items()}
  if tell_self:
    batch['is_self'] = np.array([one is other for one, other in drawn])
  return batch | {'valid': np.ones(len(drawn), np.bool_)}


def _collate(records: Sequence[Record], resolution: int) -> Example:
  count = len(records)
  images = np.empty((count, resolution, resolution, 3), np.uint8)
  sides = [
    _of(record, decode, record.image, resolution, image)[1]
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


def _of(record: Record, function, *arguments):
  """Calls a function of a record's picture; says whose, if it is damaged."""
  try:
    return function(*arguments)
  except InputError as error:
    raise InputError(f'{record.filename}: {error}') from error


def batch_shapes(config: Config) -> dict[str, tuple[tuple[int, ...], type]]:
  """Shapes and types of one example of a batch of `train_batches`."""
  picture = (config.resolution, config.resolution, 3), np.uint8
  pair, corners = ((2, 2), np.float32), ((4, 2), np.float32)
  one = {'image': picture, 'eyes': pair, 'corners': corners, 'boxes': pair}
  shapes = dict(one)
  if config.exemplar != 'none':
    shapes |= {_of_reference(name): shape for name, shape in one.items()}
  if config.self_reference:
    shapes['is_self'] = (), np.bool_
  return shapes | {'valid': ((), np.bool_)}


def _of_reference(name: str) -> str:
  """What an array of a batch is called that is of the references."""
  return 'reference' if name == 'image' else f'reference_{name}'


def next_position(position: int, record: Record) -> int:
  """Position of the next picture of the person; the first after the last.

  Raises:
    InputError: there is no other one.
  """
  check_paired(record)
  start = position - record.index_in_identity
  return start + (record.index_in_identity + 1) % record.identity_size


def check_paired(record: Record) -> None:
  """Raises InputError if a record has no partner."""
  if record.identity_size < 2:
    raise InputError(f'{record.filename} has no other picture of its person')


class RandomPair(grain.transforms.RandomMap):
  """From a record's position to a pair with any other of the person's."""

  def __init__(self, records: Records):
    self._records = records

  def random_map(self, position: int, rng: np.random.Generator) -> Drawn:
    target = self._records[position]
    check_paired(target)
    start = position - target.index_in_identity
    other = int(rng.integers(target.identity_size - 1))
    other += other >= target.index_in_identity
    return target, self._records[start + other]


class Alone(grain.transforms.Map):
  """From a record's position to the record without another one."""

  def __init__(self, records: Records):
    self._records = records

  def map(self, position: int) -> Drawn:
    return self._records[position], None


class Itself(grain.transforms.Map):
  """From a record's position to a pair of the record with itself."""

  def __init__(self, records: Records):
    self._records = records

  def map(self, position: int) -> Drawn:
    record = self._records[position]
    return record, record


def train_batches(
  config: Config, process_index: int = 0, process_count: int = 1
) -> grain.DatasetIterator:
  """An endless iterator over this process's part of the global batches.

  A batch holds the arrays of `batch_shapes`, stacked: models that are told
  nothing of the exemplar get none, in the same order of pictures. Of all pairs
  the share `self_reference` is one picture twice, of any record; the others are
  two pictures of a person. The iterator's `get_state` and `set_state` save and
  restore the position.

  Raises:
    InputError: the data set is not there, was packed for a smaller resolution,
      or has no two pictures of a person where they are needed.
  """
  records = Records(config.data_dir, config.dataset, 'train')
  records.check_resolution(config.resolution, warn=True)
  # The threads share the cores already.
  cv2.setNumThreads(1)
  local = config.batch_size // process_count
  dataset = _pairs(config, records)
  # A thread makes a whole batch: between pictures nothing is copied, and
  # threads seldom meet.
  dataset = dataset.batch(
    local,
    drop_remainder=True,
    batch_fn=functools.partial(
      collate,
      resolution=config.resolution,
      tell_self=config.self_reference > 0,
    ),
  )
  # Batch n of process p is local batch n * process_count + p.
  dataset = dataset[process_index::process_count]
  threads = reader_threads(config.reader_threads)
  options = grain.ReadOptions(
    num_threads=threads, prefetch_buffer_size=threads + _READY_BATCHES
  )
  return iter(dataset.to_iter_dataset(options))


def _pairs(config: Config, records: Records) -> grain.MapDataset:
  """What is drawn for one run after the other, for all processes."""

  def shuffled(count: int, seed: int) -> grain.MapDataset:
    return grain.MapDataset.range(count).seed(seed).shuffle().repeat()

  share = config.self_reference
  if share:
    # No run has this seed: the same order would show pictures twice in a row.
    selves = shuffled(len(records), config.seed + 2**31).map(Itself(records))
    if share == 1:
      return selves
  if not records.paired:
    advice = ''
    if config.exemplar == 'image':
      advice = ', or make pairs of one picture with --self-reference 1'
    raise InputError(
      f'nobody in the train split of {config.dataset} has two pictures: add'
      f' some{advice}'
    )
  dataset = shuffled(records.paired, config.seed)
  if config.exemplar == 'none':
    return dataset.map(Alone(records))
  dataset = dataset.random_map(RandomPair(records))
  if share:
    dataset = grain.MapDataset.mix([dataset, selves], [1 - share, share])
  return dataset


def reader_threads(asked: int) -> int:
  """How many threads read and decode; 0 asks for what suits the cores."""
  if asked:
    return asked
  return max(_LEAST_THREADS, min(parallel.cpu_count(), _MOST_THREADS))
