"""The same records from many machines, by Apache Beam.

The pictures' bytes travel through Beam, so that the machines share nothing but
the folders of the input and of the records. Apache Beam belongs to the extra
`build`.
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
  """Where records go, and how.

  Attributes:
    features: of a record.
    writer: of a shard.
    templates: the names of the shards' files for each split.
  """

  features: tfds.features.FeaturesDict
  writer: tfds.core.writer.ExampleWriter
  templates: Mapping[str, tfds.core.ShardedFileTemplate]


@dataclasses.dataclass(frozen=True)
class Built:
  """What was built: the splits with records, their counts, and what is in none.

  Attributes:
    splits: as TFDS wants them.
    counts: as `records.count` has them.
    rejected: in the order in which one machine would find them.
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
  """Builds the records that one machine would build, byte by byte.

  Args:
    work: what is to be done.
    output: where the records go.
    keep_singles: as in `records.arrange`.
    options: of the Beam pipeline.
    runner: of the Beam pipeline, if the options do not name it.
  """
  summary = output.templates['train'].data_dir / 'beam.json'
  with apache_beam.Pipeline(runner=runner, options=options) as pipeline:
    _connect(pipeline, work, output, keep_singles, summary)
  tags = collections.defaultdict(list)
  for tag, value in json.loads(summary.read_text()):
    tags[tag].append(value)
  summary.unlink()
  sizes = {split: (n, people) for split, n, people in tags['split']}
  return Built(
    splits=[
      _split_info(output.templates[split], sizes[split][0])
      for split in record.SPLITS
      if split in sizes
    ],
    counts={
      split: _count(*sizes.get(split, (0, 0))) for split in record.SPLITS
    },
    rejected=[
      records.Rejected(*fields) for _, fields in sorted(tags['rejected'])
    ],
  )


def _count(records_: int, identities: int) -> dict[str, int]:
  return {'identities': identities, 'records': records_}


def _connect(
  pipeline, work: Work, output: Output, keep_singles: bool, summary
) -> None:
  """Lays the pipeline out: pictures, people, places, shards."""
  people = (
    pipeline
    | 'Pictures' >> apache_beam.Create(list(enumerate(work.items)))
    | 'Spread' >> apache_beam.Reshuffle()
    | 'Work' >> apache_beam.ParDo(_Do(work.function))
    | 'People' >> apache_beam.GroupByKey()
    | 'Arrange' >> apache_beam.ParDo(_arrange, keep_singles).with_outputs()
  )
  # Where each person's records start, and how many records there are.
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
  totals = starts | 'Totals' >> apache_beam.Map(
    lambda item: ('split', (item[0], item[1][1], len(item[1][0])))
  )
  rejected = people.rejected | 'Tag' >> apache_beam.Map(
    lambda item: ('rejected', item)
  )
  _ = (
    (totals, rejected)
    | 'All' >> apache_beam.Flatten()
    | 'List' >> apache_beam.combiners.ToList()
    | 'Summary'
    >> apache_beam.Map(lambda items: summary.write_text(json.dumps(items)))
  )


class _Do(apache_beam.DoFn):
  """Turns (rank, item) into (identity, (rank, result))."""

  def __init__(self, function):
    self._function = function

  def setup(self):
    cv2.setNumThreads(1)  # Beam's workers share the cores already.

  def process(self, ranked):
    rank, item = ranked
    result = item
    if not isinstance(item, records.Rejected):
      result = result_of(item, parallel.attempt(lambda: self._function(item)))
    yield result.identity, (rank, result)


def _arrange(person: tuple[str, Iterable], keep_singles: bool) -> Iterator[Any]:
  """Turns a person's results into their records in each split.

  Yields (split, what the people are sorted by, records), and on another output
  what is in none of them, with what it is to be sorted by.
  """
  tagged = apache_beam.pvalue.TaggedOutput
  results = sorted(person[1], key=lambda ranked: ranked[0])
  entries = []
  for rank, result in results:
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
      rank = (len(placed) == 1, entries[0][0])
      yield tagged('placed', (split, rank, placed))


def _starts(item: tuple[str, Iterable[tuple[tuple[bool, int], int]]]):
  split, sizes = item
  starts, total = {}, 0
  for rank, size in sorted(sizes):
    starts[rank] = total
    total += size
  return split, (starts, total)


def _numbered(item, starts):
  """Yields ((split, shard), (place in the split, record))."""
  split, rank, placed = item
  start = starts[split][0][rank]
  for i, each in enumerate(placed, start):
    yield (split, i // records.RECORDS_PER_SHARD), (i, each)


def _write_shard(item, output: Output, starts) -> None:
  (split, shard), numbered = item
  placed = [each for _, each in sorted(numbered, key=lambda pair: pair[0])]
  template = output.templates[split]
  number = len(_shard_lengths(starts[split][1]))
  writer = tfds.core.writer.ShardWriter(
    output.features,
    tfds.core.example_serializer.ExampleSerializer(
      output.features.get_serialized_info()
    ),
    output.writer,
  )
  writer.write(
    [(records.key(each), records.example(each)) for each in placed],
    template.sharded_filepath(shard_index=shard, num_shards=number),
  )


def _shard_lengths(total: int) -> list[int]:
  per_shard = records.RECORDS_PER_SHARD
  full, rest = divmod(total, per_shard)
  return [per_shard] * full + [rest] * bool(rest)


def _split_info(template, total: int) -> tfds.core.SplitInfo:
  lengths = _shard_lengths(total)
  paths = template.sharded_filepaths(len(lengths))
  return tfds.core.SplitInfo(
    name=template.split,
    shard_lengths=lengths,
    num_bytes=sum(path.stat().length for path in paths),
    filename_template=template,
  )
