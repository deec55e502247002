"""Builds records on many machines with Apache Beam.

Pictures travel through Beam, so the machines share only the folders of the
input and of the records. Apache Beam belongs to the extra `build`.
"""

import collections
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam
import cv2
import tensorflow_datasets as tfds

from exgan_jax.face_records import parallel, record
from tfds_celeb_id import records
from tfds_celeb_id.work import Work, result_of


@dataclasses.dataclass(frozen=True)
class Output:
  """How and where to write records.

  Attributes:
    features: of a record.
    writer: of a shard.
    templates: file name templates of the splits.
  """

  features: tfds.features.FeaturesDict
  writer: tfds.core.writer.ExampleWriter
  templates: Mapping[str, tfds.core.ShardedFileTemplate]


@dataclasses.dataclass(frozen=True)
class Built:
  """The result of a build.

  Attributes:
    splits: that have records.
    counts: as from `records.count`.
    rejected: in the same order as on one machine.
  """

  splits: list[tfds.core.SplitInfo]
  counts: dict[str, dict[str, int]]
  rejected: list[records.Rejected]


def build(
  work: Work,
  output: Output,
  *,
  keep_singles: bool = False,
  options=None,
  runner=None,
) -> Built:
  """Builds the same records as one machine, byte for byte.

  Args:
    work: the work of the data set.
    output: how and where to write records.
    keep_singles: as in `records.arrange`.
    options: of the Beam pipeline.
    runner: of the Beam pipeline, unless the options contain it.
  """
  summary = output.templates['train'].data_dir / 'beam.json'
  with apache_beam.Pipeline(runner=runner, options=options) as pipeline:
    _connect(pipeline, work, output, keep_singles, summary)
  tags = collections.defaultdict(list)
  for tag, value in json.loads(summary.read_text()):
    tags[tag].append(value)
  summary.unlink()
  counts = {
    split: {'identities': 0, 'records': 0} for split in record.SPLITS
  } | dict(tags['count'])
  return Built(
    [
      _split_info(output.templates[split], count['records'])
      for split, count in counts.items()
      if count['records']
    ],
    counts,
    [records.Rejected(*fields) for _, fields in sorted(tags['rejected'])],
  )


def _connect(
  pipeline, work: Work, output: Output, keep_singles: bool, summary
) -> None:
  """Defines the pipeline: pictures, people, positions, shards."""
  people = (
    pipeline
    | 'Pictures' >> apache_beam.Create(list(enumerate(work.items)))
    | 'Spread' >> apache_beam.Reshuffle()
    | 'Work' >> apache_beam.ParDo(_Do(work.function))
    | 'People' >> apache_beam.GroupByKey()
    | 'Arrange' >> apache_beam.ParDo(_arrange, keep_singles).with_outputs()
  )
  starts = (
    people.placed
    | 'Sizes'
    >> apache_beam.Map(lambda item: (item[0], (item[1], len(item[2]))))
    | 'SizesOfSplits' >> apache_beam.GroupByKey()
    | 'Starts' >> apache_beam.Map(_starts)
  )
  shards = apache_beam.pvalue.AsDict(starts)
  _ = (
    people.placed
    | 'Places' >> apache_beam.FlatMap(_numbered, shards)
    | 'Shards' >> apache_beam.GroupByKey()
    | 'Write' >> apache_beam.Map(_write_shard, output, shards)
  )
  counts = starts | 'Counts' >> apache_beam.Map(_count)
  rejected = people.rejected | 'Tag' >> apache_beam.Map(
    lambda item: ('rejected', item)
  )
  _ = (
    (counts, rejected)
    | 'All' >> apache_beam.Flatten()
    | 'List' >> apache_beam.combiners.ToList()
    | 'Summary'
    >> apache_beam.Map(lambda items: summary.write_text(json.dumps(items)))
  )


class _Do(apache_beam.DoFn):
  """Maps (rank, item) to (identity, (rank, result))."""

  def __init__(self, function):
    self._function = function

  def setup(self):
    cv2.setNumThreads(1)  # Beam already runs one worker per core.

  def process(self, ranked):
    rank, item = ranked
    result = item
    if not isinstance(item, records.Rejected):
      result = result_of(item, parallel.attempt(lambda: self._function(item)))
    yield result.identity, (rank, result)


def _arrange(person: tuple[str, Iterable], keep_singles: bool) -> Iterator[Any]:
  """Maps the results of a person to records.

  Yields (split, sort key of the person, records) on the output `placed`, and
  (sort key, fields) of rejected pictures on `rejected`.
  """
  tagged = apache_beam.pvalue.TaggedOutput
  entries = []
  for rank, result in sorted(person[1], key=lambda ranked: ranked[0]):
    if isinstance(result, records.Rejected):
      yield tagged('rejected', ((0, rank), dataclasses.astuple(result)))
    else:
      entries.append((rank, result))
  splits, unpaired = records.arrange(
    (entry for _, entry in entries), keep_singles
  )
  for i, each in enumerate(unpaired):
    place = (1, entries[0][0], i)
    yield tagged('rejected', (place, dataclasses.astuple(each)))
  for split, placed in splits.items():
    if placed:
      # Singles come last, as in `records.arrange`.
      yield tagged('placed', (split, (len(placed) == 1, entries[0][0]), placed))


def _starts(item: tuple[str, Iterable[tuple[tuple[bool, int], int]]]):
  """Returns a split, where each person's records start, and their number."""
  split, sizes = item
  starts, total = {}, 0
  for rank, size in sorted(sizes):
    starts[rank] = total
    total += size
  return split, (starts, total)


def _count(item):
  split, (starts, total) = item
  return 'count', (split, {'identities': len(starts), 'records': total})


def _numbered(item, starts):
  """Yields ((split, shard), (position in the split, record))."""
  split, rank, placed = item
  for i, each in enumerate(placed, starts[split][0][rank]):
    yield (split, i // records.RECORDS_PER_SHARD), (i, each)


def _write_shard(item, output: Output, starts) -> None:
  (split, shard), numbered = item
  writer = tfds.core.writer.ShardWriter(
    output.features,
    tfds.core.example_serializer.ExampleSerializer(
      output.features.get_serialized_info()
    ),
    output.writer,
  )
  writer.write(
    [
      (records.key(placed), records.example(placed))
      for _, placed in sorted(numbered, key=lambda pair: pair[0])
    ],
    output.templates[split].sharded_filepath(
      shard_index=shard, num_shards=len(_shard_lengths(starts[split][1]))
    ),
  )


def _shard_lengths(total: int) -> list[int]:
  full, rest = divmod(total, records.RECORDS_PER_SHARD)
  return [records.RECORDS_PER_SHARD] * full + [rest] * bool(rest)


def _split_info(template, total: int) -> tfds.core.SplitInfo:
  lengths = _shard_lengths(total)
  paths = template.sharded_filepaths(len(lengths))
  return tfds.core.SplitInfo(
    name=template.split,
    shard_lengths=lengths,
    num_bytes=sum(path.stat().length for path in paths),
    filename_template=template,
  )
