"""What one record is, and which record comes where: the same for all data sets.

A data set hands over its aligned pictures as `Entry` objects, and what it could
not use as `Rejected` ones. `arrange` makes the splits of them.
"""

import collections
import dataclasses
import hashlib
import io
import json
import math
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float32
from tensorflow_datasets.proto import tf_example_pb2

from exgan_jax.face_records.record import (
  OPEN_THRESHOLD,
  SPLITS,
  UNKNOWN_CORNERS,
)
from tfds_celeb_id import spill

# Per cent of the identities in `train` and in `validation`; the rest is `test`.
TRAIN_PERCENT, VALIDATION_PERCENT = 90, 5
# TFDS keeps one shard in memory while it writes it: some 50 MB.
RECORDS_PER_SHARD = 2048


@dataclasses.dataclass(frozen=True)
class Entry:
  """One aligned picture.

  Attributes:
    identity: whose picture it is.
    filename: its name, unique in the data set.
    eyes: centres of the left and the right eye (x, y) in pixels, counted from
      the centre of the first one.
    boxes: width and height of their boxes in pixels.
    opened: how sure it is that both eyes are open, NaN if unknown.
    closed: how sure it is that an eye is closed, NaN if unknown.
    blobs: features that are bytes, `image` (a JPEG file) above all; spans of a
      spill once the bytes are there.
    extra: further features.
    corners: corners of the eyes (x, y) in pixels, outer and inner one of the
      left eye, then inner and outer one of the right eye; all NaN if unknown.
  """

  identity: str
  filename: str
  eyes: Float32[np.ndarray, '2 2']
  boxes: Float32[np.ndarray, '2 2']
  opened: float
  closed: float
  blobs: Mapping[str, bytes | spill.Span]
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  corners: Float32[np.ndarray, '4 2'] = dataclasses.field(
    default_factory=lambda: UNKNOWN_CORNERS
  )

  @property
  def is_open(self) -> bool:
    """Whether the eyes count as open; unknown scores do."""
    return math.isnan(self.opened) or self.opened >= OPEN_THRESHOLD


@dataclasses.dataclass(frozen=True)
class Rejected:
  """A picture that is in no record, and why."""

  identity: str
  filename: str
  reason: str


@dataclasses.dataclass(frozen=True)
class Placed:
  """An entry and its place among the records of its identity."""

  entry: Entry
  index_in_identity: int
  identity_size: int


def features(size: int, **extra) -> tfds.features.FeaturesDict:
  """Returns the features of a record with pictures of `size` x `size` px."""

  def pair(doc):
    return tfds.features.Tensor(shape=(2, 2), dtype=np.float32, doc=doc)

  def number(dtype, doc):
    return tfds.features.Scalar(dtype=dtype, doc=doc)

  return tfds.features.FeaturesDict(
    {
      'image': tfds.features.Image(
        shape=(size, size, 3),
        dtype=np.uint8,
        encoding_format='jpeg',
        doc='The aligned face.',
      ),
      'identity': tfds.features.Text(doc='Whose picture it is.'),
      'filename': tfds.features.Text(doc='Its name, unique in the data set.'),
      'eyes': pair(
        'Centres of the left and the right eye (x, y) in pixels, counted from '
        'the centre of the first one.'
      ),
      'corners': tfds.features.Tensor(
        shape=(4, 2),
        dtype=np.float32,
        doc='Corners of the eyes (x, y) in pixels: outer and inner one of the '
        'left eye, inner and outer one of the right eye; all NaN if unknown.',
      ),
      'boxes': pair(
        'Sizes of the boxes about them (width, height) in pixels: what is '
        'in-painted.'
      ),
      'opened': number(
        np.float32, 'How sure it is that both eyes are open; NaN if unknown.'
      ),
      'closed': number(
        np.float32, 'How sure it is that an eye is closed; NaN if unknown.'
      ),
      'index_in_identity': number(
        np.int32, 'Place among the records of the person, which are neighbours.'
      ),
      'identity_size': number(np.int32, 'How many those are.'),
      **extra,
    }
  )


def key(placed: Placed) -> str:
  """Returns what names a record within its split."""
  return f'{placed.entry.filename} {placed.index_in_identity}'


def example(
  placed: Placed, get: Callable[[Any], bytes] = lambda data: data
) -> dict[str, Any]:
  """Returns the record of an entry as TFDS takes it.

  Args:
    placed: the entry and its place.
    get: takes the bytes from where the entry's blobs say they are.
  """
  entry = placed.entry
  blobs = {name: get(blob) for name, blob in entry.blobs.items()}
  return {
    # A file object is stored as it is; an array would need TensorFlow.
    **blobs | {'image': io.BytesIO(blobs['image'])},
    'identity': entry.identity,
    'filename': entry.filename,
    'eyes': entry.eyes,
    'corners': entry.corners,
    'boxes': entry.boxes,
    'opened': entry.opened,
    'closed': entry.closed,
    'index_in_identity': placed.index_in_identity,
    'identity_size': placed.identity_size,
    **entry.extra,
  }


def canonical(serialized: bytes) -> bytes:
  """Returns a serialized record with its features in the order of names."""
  example = tf_example_pb2.Example.FromString(serialized)
  return example.SerializeToString(deterministic=True)


def readable_name(name: str) -> str:
  """Returns a file's name as it is the same on every operating system.

  Letters with accents are single characters (NFC), and bytes that are not
  UTF-8 show as question marks.
  """
  name = name.encode('utf-8', 'replace').decode('utf-8')
  return unicodedata.normalize('NFC', name)


def split_of(identity: str) -> str:
  """Returns the split of an identity; it depends on nothing but the name."""
  digest = hashlib.sha256(identity.encode('utf-8')).digest()
  percent = int.from_bytes(digest[:8], 'big') % 100
  if percent < TRAIN_PERCENT:
    return 'train'
  if percent < TRAIN_PERCENT + VALIDATION_PERCENT:
    return 'validation'
  return 'test'


def arrange(
  entries: Iterable[Entry], keep_singles: bool = False
) -> tuple[dict[str, list[Placed]], list[Rejected]]:
  """Sorts entries into splits.

  `train`, `validation` and `test` get the open-eyed pictures of identities with
  at least two of them; `closed` gets, for each closed-eyed picture, that one
  and then the same person's widest open one. Identities keep the order in which
  they first appear, and so do the pictures of each.

  Args:
    entries: of all pictures.
    keep_singles: whether `train` also gets the only open-eyed picture of an
      identity, after the pictures of all identities with more of them.

  Returns:
    The records of each of the four splits in order, and the entries that are in
    none of them.
  """
  people = collections.defaultdict(list)
  for entry in entries:
    people[entry.identity].append(entry)
  splits: dict[str, list[Placed]] = {split: [] for split in SPLITS}
  rejected: list[Rejected] = []
  for identity, pictures in people.items():
    opened = [entry for entry in pictures if entry.is_open]
    closed = [entry for entry in pictures if not entry.is_open]
    split = split_of(identity)
    fewest = 1 if keep_singles and split == 'train' else 2
    if len(opened) >= fewest:
      splits[split].extend(
        Placed(entry, i, len(opened)) for i, entry in enumerate(opened)
      )
    if opened:
      widest = max(opened, key=_openness)
      for entry in closed:
        splits['closed'].extend([Placed(entry, 0, 2), Placed(widest, 1, 2)])
    used = (
      {id(widest)} | {id(entry) for entry in closed}
      if (opened and closed)
      else set()
    )
    if len(opened) >= fewest:
      used |= {id(entry) for entry in opened}
    if len(pictures) < 2:
      reason = 'the only usable picture of this person'
    elif opened:
      reason = 'the only open-eyed picture of this person'
    else:
      reason = 'eyes closed, and no open-eyed picture of this person'
    rejected.extend(
      Rejected(identity, entry.filename, reason)
      for entry in pictures
      if id(entry) not in used
    )
  # A stable sort: the others stay in order.
  splits['train'].sort(key=lambda placed: placed.identity_size == 1)
  return splits, rejected


def _openness(entry: Entry) -> float:
  return -1.0 if math.isnan(entry.opened) else entry.opened


def write_rejected(
  rejected: Iterable[Rejected], path: str | os.PathLike
) -> None:
  """Writes one JSON object a line: `filename`, `identity`, `reason`."""
  with open(path, 'w', encoding='ascii') as file:
    for each in rejected:
      file.write(json.dumps(dataclasses.asdict(each), sort_keys=True) + '\n')


def count_reasons(rejected: Iterable[Rejected]) -> dict[str, int]:
  """Returns how many pictures were rejected for each reason, most first."""
  counts = collections.Counter(each.reason for each in rejected)
  return dict(counts.most_common())


def count(splits: Mapping[str, list[Placed]]) -> dict[str, dict[str, int]]:
  """Returns how many `identities` and `records` each split has."""
  return {
    split: {
      'identities': len({p.entry.identity for p in placed}),
      'records': len(placed),
    }
    for split, placed in splits.items()
  }


def shards(placed: list[Placed]) -> Iterator[list[Placed]]:
  """Yields the records of a split in consecutive pieces."""
  for start in range(0, len(placed), RECORDS_PER_SHARD):
    yield placed[start : start + RECORDS_PER_SHARD]
