"""A built data set once more, with its pictures at a training's resolution.

The records stay what they are: the same ones in the same files and the same
order, read by the same readers. Only their pictures are smaller, and what is
measured in their pixels is scaled along.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from array_record.python import array_record_module

from exgan_jax.errors import InputError
from exgan_jax.face_records import codec, example, parallel, pictures, progress
from exgan_jax.face_records import folder as folder_lib

# Those that a training may have: `config.Config` says the same.
LARGEST, MULTIPLE = 1024, 16
# To send records to another process one by one would cost more than the work.
_RECORDS_AT_ONCE = 16


@dataclasses.dataclass(frozen=True)
class _Task:
  """Some records of a file, to be packed."""

  filename: str
  start: int
  stop: int


def pack(
  data_dir: str | os.PathLike,
  dataset: str,
  resolution: int,
  output: str | os.PathLike,
  *,
  pixels: bool = False,
  workers: int | None = None,
) -> pathlib.Path:
  """Writes a built data set with smaller pictures.

  What is written depends on nothing but what is read, and is there either as a
  whole or not at all.

  Args:
    data_dir: folder of the built data sets.
    dataset: name of the data set; its newest version is taken.
    resolution: side of the pictures in pixels, at most that of the stored ones.
    output: folder to put it in, under the same name; it is not there yet.
    pixels: store plain pixels, which take more room and next to no time to
      read, instead of JPEG (quality 95, colour at full resolution). A training
      at that resolution then gets the very pixels that it would get from the
      original records.
    workers: processes; one a core by default, 0 for this one alone.

  Returns:
    The folder of the version.

  Raises:
    InputError: the data set is not there or damaged, its pictures are smaller,
      or `output` has one of that name or cannot be written.
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
    raise InputError(f'{final} exists: remove it, or give another --output')
  try:
    final.parent.mkdir(parents=True, exist_ok=True)
    # The name of what is not whole yet is that of no data set.
    with tempfile.TemporaryDirectory(
      prefix=f'.{dataset}.', dir=final.parent
    ) as temporary:
      folder = pathlib.Path(temporary) / dataset / source.name
      folder.mkdir(parents=True)
      function = functools.partial(
        _pack_some, resolution=resolution, pixels=pixels
      )
      _write(files, function, folder, pixels, workers)
      _describe(description, files, source, folder)
      os.rename(folder.parent, final)
  except OSError as error:
    what = error.strerror or error
    raise InputError(f'cannot write {final}: {what}') from error
  return final / source.name


def _files(
  source: pathlib.Path, dataset: str
) -> dict[str, list[folder_lib.Shard]]:
  """The files of each split."""
  lengths = folder_lib.shard_lengths(
    folder_lib.read_json(source / folder_lib.DATASET_INFO)
  )
  if not lengths:
    raise InputError(f'{source} has no split')
  files = {}
  for split in lengths:
    found = folder_lib.shards(source, dataset, split)
    files[split] = [s for s in found if isinstance(s, folder_lib.Shard)]
    if len(files[split]) != len(found):
      raise InputError(
        f'{source} has other files of the {split} split than it says'
      )
  return files


def _write(
  files: dict[str, list[folder_lib.Shard]],
  function: Callable[[_Task], list[bytes]],
  folder: pathlib.Path,
  pixels: bool,
  workers: int | None,
) -> None:
  """Writes every file anew, one after the other, by all processes together."""
  shards = [shard for split in files.values() for shard in split]
  tasks = (
    _Task(shard.filename, start, min(start + _RECORDS_AT_ONCE, shard.take))
    for shard in shards
    for start in range(0, shard.take, _RECORDS_AT_ONCE)
  )
  # What cannot be made smaller need not be uncompressed, either.
  options = 'group_size:1,uncompressed' if pixels else 'group_size:1'
  with (
    contextlib.closing(
      parallel.ordered_map(function, tasks, workers)
    ) as results,
    progress.bar(
      total=sum(shard.take for shard in shards), desc='pack', unit=' records'
    ) as bar,
  ):
    packed = _each(results, bar)
    for shard in shards:
      path = folder / pathlib.Path(shard.filename).name
      _write_file(path, itertools.islice(packed, shard.take), options)


def _each(results: Iterable[Any], bar: Any) -> Iterator[bytes]:
  for result in results:
    if isinstance(result, parallel.Failure):
      raise InputError(f'cannot pack the records: {result.reason}')
    bar.update(len(result))
    yield from result


def _write_file(
  path: pathlib.Path, serialized: Iterable[bytes], options: str
) -> None:
  writer = array_record_module.ArrayRecordWriter(os.fspath(path), options)
  try:
    for record in serialized:
      _or_disk(writer.write, record)
  finally:
    _or_disk(writer.close)


def _or_disk(call: Callable, *arguments: bytes) -> None:
  try:
    call(*arguments)
  except RuntimeError as error:  # ArrayRecord's way to say that it is full.
    raise OSError(str(error).partition(';')[0]) from error


def _pack_some(task: _Task, resolution: int, pixels: bool) -> list[bytes]:
  try:
    reader = array_record_module.ArrayRecordReader(
      task.filename, options='readahead_buffer_size:0'
    )
    try:
      if reader.num_records() < task.stop:
        raise InputError(f'{task.filename} has fewer records than it should')
      found = reader.read(range(task.start, task.stop))
    finally:
      reader.close()
  except (RuntimeError, ValueError, LookupError) as error:
    message = str(error).partition('\n')[0]
    raise InputError(f'cannot read {task.filename}: {message}') from error
  return [pack_record(each, resolution, pixels) for each in found]


def pack_record(serialized: bytes, resolution: int, pixels: bool) -> bytes:
  """Returns a record with its pictures and all coordinates scaled.

  Raises:
    InputError: it is damaged, or its picture is smaller.
  """
  record = example.parse(serialized)
  message = example.Example.FromString(serialized)
  feature = message.features.feature
  try:
    side = codec.side_of(record.image)
    if side < resolution:
      raise InputError(f'its {side} px would have to be enlarged')
    for name in ('image', 'truth'):
      # To look a feature up that is not there would add it.
      if picture := getattr(record, name):
        packed = _packed(picture, resolution, pixels)
        feature[name].bytes_list.value[:] = [packed]
  except InputError as error:
    raise InputError(f'{record.filename}: {error}') from error
  scale = codec.scale_of(resolution, side)
  _set(feature['eyes'], codec.scale_points(record.eyes, scale))
  _set(feature['boxes'], record.boxes * scale)
  if 'corners' in feature:
    _set(feature['corners'], codec.scale_points(record.corners, scale))
  if record.irises is not None:
    centres = codec.scale_points(record.irises[:, :2], scale)
    radii = record.irises[:, 2:] * scale
    _set(feature['irises'], np.concatenate([centres, radii], axis=1))
  return message.SerializeToString(deterministic=True)


def _packed(picture: bytes, resolution: int, pixels: bool) -> bytes:
  is_as_asked = codec.is_pixels(picture) == pixels
  if is_as_asked and codec.side_of(picture) == resolution:
    return picture
  image, _ = codec.decode(picture, resolution)
  if pixels:
    return codec.encode_pixels(image)
  return pictures.encode_jpeg(image, full_colour=True)


def _set(feature: Any, values: np.ndarray) -> None:
  feature.float_list.value[:] = values.ravel().tolist()


def _description(
  source: pathlib.Path, resolution: int, pixels: bool
) -> dict[str, Any]:
  """What TFDS's files and our own say of the packed data set.

  Raises:
    InputError: a file is missing, or not what TFDS writes.
  """
  features, info, metadata = (
    folder_lib.read_json(source / name)
    for name in (
      folder_lib.FEATURES,
      folder_lib.DATASET_INFO,
      folder_lib.METADATA,
    )
  )
  try:
    image = features['featuresDict']['features']['image']['image']
    image['shape']['dimensions'] = [str(resolution), str(resolution), '3']
    if pixels:
      # TFDS has no name for it; its readers look at the bytes.
      image.pop('encodingFormat', None)
    else:
      image['encodingFormat'] = 'jpeg'
    metadata[folder_lib.PACKED] = {
      'resolution': resolution,
      'pixels': pixels,
      'jpeg_quality': None if pixels else pictures.JPEG_QUALITY,
    }
  except (KeyError, TypeError, AttributeError) as error:
    raise InputError(
      f'{source} is not described as a data set of pictures'
    ) from error
  return {
    folder_lib.FEATURES: features,
    folder_lib.DATASET_INFO: info,
    folder_lib.METADATA: metadata,
  }


def _describe(
  description: dict[str, Any],
  files: dict[str, list[folder_lib.Shard]],
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
