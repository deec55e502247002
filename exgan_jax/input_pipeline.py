"""Records to identity pairs to uint8 batches, with Grain.

Records of one person lie next to each other, and each knows its place and how
many they are, so the partner of a record is arithmetic on its position. The
order is shuffled globally and only then dealt out to processes: the global
batch at a step is the same for any number of them.
"""

from __future__ import annotations

import hashlib
import pathlib
import re
from collections.abc import Sequence

import cv2
import grain
import numpy as np

from exgan_jax.config import Config
from tfds_celeb_id import InputError
from tfds_celeb_id.records import Record, parse

Example = dict[str, np.ndarray]
_READER_OPTIONS = {'index_storage_option': 'in_memory'}


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
    self.version, paths = _find_shards(data_dir, dataset, split)
    try:
      self._source = grain.sources.ArrayRecordDataSource(
        [str(path) for path in paths], reader_options=_READER_OPTIONS
      )
    except (RuntimeError, ValueError, OSError) as error:
      raise InputError(f'cannot read {paths[0].parent}: {error}') from error
    if not len(self._source):
      raise InputError(f'the {split} split of {dataset} holds no record')

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, position: int) -> Record:
    """Reads the record at a position in [0, len).

    Raises:
      InputError: it is damaged.
    """
    record = parse(self._source[position])
    start = position - record.index_in_identity
    if start < 0 or start + record.identity_size > len(self):
      raise InputError(f'{record.filename} has its person outside of the split')
    return record

  def fingerprint(self) -> str:
    """A hash that tells this split from another, from a few of its records."""
    digest = hashlib.sha256(f'{self.version} {len(self)}'.encode())
    for position in (0, len(self) // 2, len(self) - 1):
      digest.update(self._source[position])
    return digest.hexdigest()

  def digest(self, positions: Sequence[int]) -> str:
    """A hash of the records at some positions, all that they hold."""
    digest = hashlib.sha256(f'{self.version} {len(positions)}'.encode())
    for position in positions:
      digest.update(hashlib.sha256(self._source[position]).digest())
    return digest.hexdigest()


def decode(jpeg: bytes, resolution: int) -> tuple[np.ndarray, float]:
  """Decodes a square picture at a resolution.

  A picture at least twice as large is decoded at a half, a quarter or an
  eighth of its size, which costs a fraction of the time.

  Returns:
    uint8 [resolution, resolution, 3] in RGB, and the stored side in pixels.

  Raises:
    InputError: it is not a square JPEG.
  """
  stored, width = jpeg_shape(jpeg)
  if stored != width:
    raise InputError(f'a record holds a picture of {width} x {stored} pixels')
  flags = cv2.IMREAD_COLOR
  for factor, reduced in (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
  ):
    if stored >= factor * resolution:
      flags = reduced
      break
  image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags)
  if image is None:
    raise InputError('a record holds a picture that cannot be decoded')
  if image.shape[0] != resolution:
    shrinks = image.shape[0] > resolution
    image = cv2.resize(
      image,
      (resolution, resolution),
      interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC,
    )
  return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), float(stored)


def pair(target: Record, reference: Record, resolution: int) -> Example:
  """One example of a batch: a picture and another one of the same person.

  Returns:
    `image`, `reference`: uint8 [resolution, resolution, 3]; `eyes`, `boxes`,
    `reference_eyes`, `reference_boxes`: float32 [2, 2] in pixels of that
    resolution; `valid`: true.
  """
  image, side = decode(target.image, resolution)
  other, other_side = decode(reference.image, resolution)
  scale = np.float32(resolution / side)
  other_scale = np.float32(resolution / other_side)
  return {
    'image': image,
    'reference': other,
    'eyes': scale_points(target.eyes, scale),
    'boxes': target.boxes * scale,
    'reference_eyes': scale_points(reference.eyes, other_scale),
    'reference_boxes': reference.boxes * other_scale,
    'valid': np.bool_(True),
  }


def scale_points(points: np.ndarray, scale: np.float32) -> np.ndarray:
  """Scales pixel coordinates along with their picture."""
  # A pixel's index is the place of its centre: half a pixel from its edge.
  half = np.float32(0.5)
  return (points + half) * scale - half


def next_position(position: int, record: Record) -> int:
  """Position of the next picture of the person; the first after the last."""
  start = position - record.index_in_identity
  return start + (record.index_in_identity + 1) % record.identity_size


class RandomPair(grain.transforms.RandomMap):
  """From a record's position to a pair with any other of the person's."""

  def __init__(self, records: Records, resolution: int):
    self._records = records
    self._resolution = resolution

  def random_map(self, position: int, rng: np.random.Generator) -> Example:
    target = self._records[position]
    start = position - target.index_in_identity
    other = int(rng.integers(target.identity_size - 1))
    other += other >= target.index_in_identity
    return pair(target, self._records[start + other], self._resolution)


def train_batches(
  config: Config, process_index: int = 0, process_count: int = 1
) -> grain.DatasetIterator:
  """An endless iterator over this process's part of the global batches.

  A batch holds the arrays of `pair`, stacked. The iterator's `get_state` and
  `set_state` save and restore the position.

  Raises:
    InputError: the data set is not there.
  """
  records = Records(config.data_dir, config.dataset, 'train')
  local = config.batch_size // process_count
  dataset = (
    grain.MapDataset.range(len(records))
    .seed(config.seed)
    .shuffle()
    .repeat()
    .random_map(RandomPair(records, config.resolution))
    .batch(local, drop_remainder=True)
  )
  # Batch n of process p is local batch n * process_count + p.
  dataset = dataset[process_index::process_count]
  options = grain.ReadOptions(
    num_threads=config.reader_threads,
    prefetch_buffer_size=2 * config.reader_threads,
  )
  return iter(dataset.to_iter_dataset(options))


def version_folder(data_dir: str, dataset: str) -> pathlib.Path:
  """Folder of a data set's newest version.

  Raises:
    InputError: there is none.
  """
  folder = pathlib.Path(data_dir) / dataset
  versions = sorted(
    (
      path
      for path in (folder.iterdir() if folder.is_dir() else ())
      if re.fullmatch(r'\d+\.\d+\.\d+', path.name) and path.is_dir()
    ),
    key=lambda path: tuple(int(part) for part in path.name.split('.')),
  )
  if not versions:
    raise InputError(
      f'no data set {dataset} in {data_dir or "."}: build it, or give the'
      ' folder that it is in as --data-dir'
    )
  return versions[-1]


def _find_shards(
  data_dir: str, dataset: str, split: str
) -> tuple[str, list[pathlib.Path]]:
  folder = version_folder(data_dir, dataset)
  pattern = f'{dataset}-{split}.array_record-*-of-*'
  paths = sorted(folder.glob(pattern))
  if not paths:
    raise InputError(f'{folder} has no split {split} of array_record')
  total = paths[0].name.rsplit('-', 1)[1]
  if not total.isdecimal() or len(paths) != int(total):
    raise InputError(
      f'{folder} has {len(paths)} files of the {split} split, not {total}'
    )
  return folder.name, paths


def jpeg_shape(jpeg: bytes) -> tuple[int, int]:
  """Height and width of a JPEG from its frame header, without decoding it."""
  at = 2
  while at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
    marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], 'big')
    is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
    if is_frame:
      height, width = jpeg[at + 5 : at + 7], jpeg[at + 7 : at + 9]
      return int.from_bytes(height, 'big'), int.from_bytes(width, 'big')
    at += 2 + length
  raise InputError('a record holds a picture that is not a JPEG')
