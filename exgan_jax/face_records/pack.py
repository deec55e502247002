"""Copies a data set with pictures at the resolution of a training run.

The records, their order and their files are the same, and so are their readers.
Only the pictures are smaller, and coordinates are scaled along.
"""

import contextlib
import functools
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Iterable
from typing import Any

import numpy as np
from array_record.python import array_record_module

from exgan_jax.errors import InputError
from exgan_jax.face_records import codec, example, parallel, pictures, progress
from exgan_jax.face_records import folder as folder_lib
from exgan_jax.face_records.folder import Shard
from exgan_jax.files import read_json, temporary_folder

# Resolutions of a training run, as in `config.Config`.
LARGEST, MULTIPLE = 1024, 16
# Sending single records to another process would cost more than the work.
_RECORDS_AT_ONCE = 16


def pack(
  data_dir: str | os.PathLike,
  dataset: str,
  resolution: int,
  output: str | os.PathLike,
  *,
  pixels: bool = False,
  workers: int | None = None,
) -> pathlib.Path:
  """Writes a copy of a data set with smaller pictures.

  The same input gives the same bytes. An interrupted call leaves no files.

  Args:
    data_dir: folder of the data sets.
    dataset: name of the data set; its newest version is copied.
    resolution: side of the new pictures in pixels, at most that of the old.
    output: folder for the copy, which has the same name; it must not exist yet.
    pixels: store uncompressed pixels instead of JPEG (quality 95, 4:4:4). They
      are larger, but reading them takes almost no time, and a training run at
      this resolution gets the same pixels as from the original records.
    workers: number of processes; None means one per core, 0 means this one.

  Returns:
    The folder of the version.

  Raises:
    InputError: the data set is missing or damaged, its pictures are smaller, or
      `output` exists or cannot be written.
  """
  if not MULTIPLE <= resolution <= LARGEST or resolution % MULTIPLE:
    raise InputError(
      f'--resolution must be a multiple of {MULTIPLE} up to {LARGEST}'
    )
  source = folder_lib.version_folder(data_dir, dataset)
  files = _files(source, dataset)
  description = _description(source, resolution, pixels)
  final = pathlib.Path(output) / dataset
  if final.exists():
    raise InputError(f'{final} exists: remove it or choose another --output')
  try:
    final.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(final.parent, f'.{dataset}.') as temporary:
      folder = temporary / dataset / source.name
      folder.mkdir(parents=True)
      _write(
        [shard for split in files.values() for shard in split],
        folder,
        resolution,
        pixels,
        workers,
      )
      _describe(description, files, source, folder)
      os.rename(folder.parent, final)
  except OSError as error:
    what = error.strerror or error
    raise InputError(f'cannot write {final}: {what}') from error
  return final / source.name


def _files(source: pathlib.Path, dataset: str) -> dict[str, list[Shard]]:
  """Returns the files of each split."""
  lengths = folder_lib.shard_lengths(
    read_json(source / folder_lib.DATASET_INFO)
  )
  if not lengths:
    raise InputError(f'{source} has no split')
  files = {}
  for split in lengths:
    found = folder_lib.shards(source, dataset, split)
    files[split] = [shard for shard in found if isinstance(shard, Shard)]
    if len(files[split]) != len(found):
      raise InputError(
        f'the files of the {split} split in {source} do not match '
        f'{folder_lib.DATASET_INFO}'
      )
  return files


def _write(
  shards: list[Shard],
  folder: pathlib.Path,
  resolution: int,
  pixels: bool,
  workers: int | None,
) -> None:
  """Writes the files one after the other; all processes work on the same."""
  tasks = (
    Shard(shard.filename, min(_RECORDS_AT_ONCE, shard.take - start), start)
    for shard in shards
    for start in range(0, shard.take, _RECORDS_AT_ONCE)
  )
  function = functools.partial(_pack, resolution=resolution, pixels=pixels)
  with (
    contextlib.closing(
      parallel.ordered_map(function, tasks, workers)
    ) as results,
    progress.bar(
      total=sum(shard.take for shard in shards), desc='pack', unit=' records'
    ) as bar,
  ):

    def packed():
      for result in results:
        if isinstance(result, parallel.Failure):
          raise InputError(f'cannot pack the records: {result.reason}')
        bar.update(len(result))
        yield from result

    records = packed()
    for shard in shards:
      path = folder / pathlib.Path(shard.filename).name
      _write_file(path, itertools.islice(records, shard.take), pixels)


def _write_file(
  path: pathlib.Path, serialized: Iterable[bytes], pixels: bool
) -> None:
  # Pixels are read faster without ArrayRecord's own compression.
  options = 'group_size:1,uncompressed' if pixels else 'group_size:1'
  try:
    writer = array_record_module.ArrayRecordWriter(os.fspath(path), options)
    with contextlib.closing(writer):
      for record in serialized:
        writer.write(record)
  except RuntimeError as error:  # Raised by ArrayRecord if the disk is full.
    raise OSError(str(error).partition(';')[0]) from error


def _pack(shard: Shard, resolution: int, pixels: bool) -> list[bytes]:
  """Packs some records of a file."""
  stop = shard.skip + shard.take
  try:
    reader = array_record_module.ArrayRecordReader(
      shard.filename, options='readahead_buffer_size:0'
    )
    with contextlib.closing(reader):
      if reader.num_records() < stop:
        raise InputError(f'{shard.filename} has too few records')
      found = reader.read(range(shard.skip, stop))
  except (RuntimeError, ValueError, LookupError) as error:
    message = str(error).partition('\n')[0]
    raise InputError(f'cannot read {shard.filename}: {message}') from error
  return [pack_record(each, resolution, pixels) for each in found]


def pack_record(serialized: bytes, resolution: int, pixels: bool) -> bytes:
  """Returns a record with smaller pictures and scaled coordinates.

  Raises:
    InputError: it is damaged, or its picture is smaller.
  """
  record = example.parse(serialized)
  message = example.Example.FromString(serialized)
  feature = message.features.feature

  def write(name: str, values: np.ndarray) -> None:
    feature[name].float_list.value[:] = values.ravel().tolist()

  try:
    side = codec.side_of(record.image)
    if side < resolution:
      raise InputError(f'its {side} px would have to be enlarged')
    for name in ('image', 'truth'):
      # Accessing a missing feature would add it.
      if picture := getattr(record, name):
        packed = _pack_picture(picture, resolution, pixels)
        feature[name].bytes_list.value[:] = [packed]
  except InputError as error:
    raise InputError(f'{record.filename}: {error}') from error
  scale = codec.scale_of(resolution, side)
  write('eyes', codec.scale_points(record.eyes, scale))
  write('boxes', record.boxes * scale)
  if 'corners' in feature:
    write('corners', codec.scale_points(record.corners, scale))
  if record.irises is not None:
    centers = codec.scale_points(record.irises[:, :2], scale)
    radii = record.irises[:, 2:] * scale
    write('irises', np.concatenate([centers, radii], axis=1))
  return message.SerializeToString(deterministic=True)


def _pack_picture(picture: bytes, resolution: int, pixels: bool) -> bytes:
  if (
    codec.is_pixels(picture) == pixels and codec.side_of(picture) == resolution
  ):
    return picture
  image, _ = codec.decode(picture, resolution)
  if pixels:
    return codec.encode_pixels(image)
  return pictures.encode_jpeg(image, full_color=True)


def _description(
  source: pathlib.Path, resolution: int, pixels: bool
) -> dict[str, Any]:
  """Returns the content of the JSON files of the copy by name.

  Raises:
    InputError: a file is missing, or has an unexpected format.
  """
  names = (folder_lib.FEATURES, folder_lib.DATASET_INFO, folder_lib.METADATA)
  description = {name: read_json(source / name) for name in names}
  try:
    features = description[folder_lib.FEATURES]['featuresDict']['features']
    image = features['image']['image']
    image['shape']['dimensions'] = [str(resolution), str(resolution), '3']
    if pixels:
      # TFDS has no name for BMP; it recognizes the format when reading.
      image.pop('encodingFormat', None)
    else:
      image['encodingFormat'] = 'jpeg'
    description[folder_lib.METADATA][folder_lib.PACKED] = {
      'resolution': resolution,
      'pixels': pixels,
      'jpeg_quality': None if pixels else pictures.JPEG_QUALITY,
    }
  except (KeyError, TypeError, AttributeError) as error:
    raise InputError(
      f'{source} is not described as a data set of pictures'
    ) from error
  return description


def _describe(
  description: dict[str, Any],
  files: dict[str, list[Shard]],
  source: pathlib.Path,
  folder: pathlib.Path,
) -> None:
  for split in description[folder_lib.DATASET_INFO]['splits']:
    names = [pathlib.Path(s.filename).name for s in files[split['name']]]
    size = sum((folder / name).stat().st_size for name in names)
    split['numBytes'] = str(size)
  for name, content in description.items():
    text = json.dumps(content, indent=2, sort_keys=True)
    (folder / name).write_text(text + '\n', encoding='utf-8')
  if (source / folder_lib.REJECTED).exists():
    shutil.copyfile(source / folder_lib.REJECTED, folder / folder_lib.REJECTED)
