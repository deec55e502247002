"""Finds the files of a data set, without reading its records."""

import dataclasses
import os
import pathlib
import re
from typing import Any

from exgan_jax.errors import InputError
from exgan_jax.files import read_json

# Files in the folder of a version.
DATASET_INFO = 'dataset_info.json'
FEATURES = 'features.json'
METADATA = 'metadata.json'
REJECTED = 'rejected.jsonl'
# The key of METADATA that `pack` adds.
PACKED = 'packed'


@dataclasses.dataclass(frozen=True)
class Shard:
  """A file of records, or a part of it, for an ArrayRecord data source.

  Attributes:
    filename: its path.
    take: number of records.
    skip: number of records before them.
  """

  filename: str
  take: int
  skip: int = 0

  @property
  def examples_in_shard(self) -> int:
    return self.take


def version_folder(data_dir: str | os.PathLike, dataset: str) -> pathlib.Path:
  """Returns the folder of the newest version of a data set.

  Raises:
    InputError: there is none.
  """
  if not re.fullmatch(r'\w+', dataset):
    raise InputError(
      f'--dataset {dataset} is not the name of a data set: pass its folder as'
      ' --data-dir'
    )
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
      f'no data set {dataset} in {data_dir or "."}: build it, or pass its '
      'folder as --data-dir'
    )
  return versions[-1]


def shards(
  folder: pathlib.Path, dataset: str, split: str
) -> list[Shard] | list[str]:
  """Returns the files of a split in order, with their lengths if known.

  Opening each file for its length would be slow for a large data set.

  Raises:
    InputError: the split or one of its files is missing.
  """
  paths = sorted(folder.glob(f'{dataset}-{split}.array_record-*-of-*'))
  if not paths:
    raise InputError(f'{folder} has no split {split} of array_record')
  total = paths[0].name.rsplit('-', 1)[1]
  if not total.isdecimal() or len(paths) != int(total):
    raise InputError(
      f'{folder} has {len(paths)} files of the {split} split, not {total}'
    )
  try:
    lengths = shard_lengths(read_json(folder / DATASET_INFO))[split]
  except (InputError, KeyError):
    lengths = []
  if len(lengths) != len(paths):
    return [str(path) for path in paths]
  return [Shard(str(p), n) for p, n in zip(paths, lengths, strict=True)]


def shard_lengths(dataset_info: Any) -> dict[str, list[int]]:
  """Returns the numbers of records in the files of each split.

  Raises:
    InputError: it has an unexpected format.
  """
  try:
    lengths = {
      str(split['name']): [int(n) for n in split['shardLengths']]
      for split in dataset_info['splits']
    }
  except (KeyError, TypeError, ValueError) as error:
    raise InputError(f'{DATASET_INFO} has no valid list of splits') from error
  if any(n < 1 for split in lengths.values() for n in split):
    raise InputError(f'{DATASET_INFO} lists files without records')
  return lengths


def packed(folder: pathlib.Path) -> bool:
  """Returns whether a data set was written by `pack`."""
  try:
    return PACKED in read_json(folder / METADATA)
  except InputError:
    return False
