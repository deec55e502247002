"""Records, and how pictures are sorted into splits; shared by all data sets.

A data set yields `Entry` objects for its aligned pictures, and `Rejected` ones
for those it cannot use. `arrange` sorts them into splits.
"""

import collections
import dataclasses
import hashlib
import io
import json
import math
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float32

from exgan_jax.face_records.record import (
  OPEN_THRESHOLD,
  SPLITS,
  UNKNOWN_CORNERS,
)
from tfds_celeb_id import spill

# Percentages of the identities; the rest is `test`.
TRAIN_PERCENT, VALIDATION_PERCENT = 90, 5
# TFDS holds one shard in memory while writing it, about 50 MB.
RECORDS_PER_SHARD = 2048


@dataclasses.dataclass(frozen=True)
class Entry:
  """One aligned picture.

  Attributes:
    identity: the person.
    filename: its name, unique in the data set.
    eyes: centers (x, y) of the left and the right eye in pixels; (0, 0) is the
      center of the first pixel.
    boxes: widths and heights of their boxes in pixels.
    opened: confidence that both eyes are open, NaN if unknown.
    closed: confidence that an eye is closed, NaN if unknown.
    blobs: features that are bytes, such as `image`, a JPEG file; or where a
      `Spill` has them.
    extra: further features.
    corners: corners (x, y) of the eyes in pixels: outer and inner one of the
      left eye, inner and outer one of the right eye; all NaN if unknown.
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
    """Whether the eyes count as open; they do if it is unknown."""
    return math.isnan(self.opened) or self.opened >= OPEN_THRESHOLD


@dataclasses.dataclass(frozen=True)
class Rejected:
  """A picture that is in no record, and why."""

  identity: str
  filename: str
  reason: str


@dataclasses.dataclass(frozen=True)
class Placed:
  """An entry and its position among the records of its identity."""

  entry: Entry
  index_in_identity: int
  identity_size: int


def features(size: int, **extra) -> tfds.features.FeaturesDict:
  """Returns the features of a record with pictures of `size` x `size` px."""

  def tensor(shape, doc):
    return tfds.features.Tensor(shape=shape, dtype=np.float32, doc=doc)

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
      'identity': tfds.features.Text(doc='The person.'),
      'filename': tfds.features.Text(doc='Its name, unique in the data set.'),
      'eyes': tensor(
        (2, 2),
        'Centers (x, y) of the left and the right eye in pixels; (0, 0) is the '
        'center of the first pixel.',
      ),
      'corners': tensor(
        (4, 2),
        'Corners (x, y) of the eyes in pixels: outer and inner one of the left '
        'eye, inner and outer one of the right eye; all NaN if unknown.',
      ),
      'boxes': tensor(
        (2, 2), 'Sizes (width, height) of the holes around the eyes in pixels.'
      ),
      'opened': number(
        np.float32, 'Confidence that both eyes are open; NaN if unknown.'
      ),
      'closed': number(
        np.float32, 'Confidence that an eye is closed; NaN if unknown.'
      ),
      'index_in_identity': number(
        np.int32, 'Position among the consecutive records of the person.'
      ),
      'identity_size': number(np.int32, 'Number of those records.'),
      **extra,
    }
  )


def key(placed: Placed) -> str:
  """Returns the key of a record, unique in its split."""
  return f'{placed.entry.filename} {placed.index_in_identity}'


def example(
  placed: Placed, get: Callable[[Any], bytes] = lambda data: data
) -> dict[str, Any]:
  """Returns the record of an entry for TFDS.

  Args:
    placed: the entry and its position.
    get: returns the bytes of a value of the entry's `blobs`.
  """
  entry = placed.entry
  blobs = {name: get(blob) for name, blob in entry.blobs.items()}
  return {
    # TFDS stores a file object unchanged, and needs TensorFlow for an array.
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


def readable_name(name: str) -> str:
  """Returns a file name in a form that is the same on all systems.

  It is normalized to NFC, and bytes that are not UTF-8 become question marks.
  """
  name = name.encode('utf-8', 'replace').decode('utf-8')
  return unicodedata.normalize('NFC', name)


def split_of(identity: str) -> str:
  """Returns the split of an identity, from a hash of its name."""
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
  at least two of them. `closed` gets pairs: each closed-eyed picture, and the
  same person's picture with the widest open eyes. The order of the identities,
  and of the pictures of each, is that of the entries.

  Args:
    entries: of all pictures.
    keep_singles: whether `train` also gets the pictures of identities with a
      single open-eyed one, after all others.

  Returns:
    The records of each split, and the entries that are in none.
  """
  people = collections.defaultdict(list)
  for entry in entries:
    people[entry.identity].append(entry)
  splits: dict[str, list[Placed]] = {split: [] for split in SPLITS}
  rejected: list[Rejected] = []
  for identity, pictures in people.items():
    opened = [entry for entry in pictures if entry.is_open]
    closed = [entry for entry in pictures if not entry.is_open]
    used = set()
    split = split_of(identity)
    if len(opened) >= (1 if keep_singles and split == 'train' else 2):
      splits[split] += [
        Placed(entry, i, len(opened)) for i, entry in enumerate(opened)
      ]
      used |= {id(entry) for entry in opened}
    if opened and closed:
      widest = max(
        opened, key=lambda e: -1.0 if math.isnan(e.opened) else e.opened
      )
      for entry in closed:
        splits['closed'] += [Placed(entry, 0, 2), Placed(widest, 1, 2)]
      used |= {id(entry) for entry in (*closed, widest)}
    if len(pictures) < 2:
      reason = 'the only usable picture of this person'
    elif opened:
      reason = 'the only open-eyed picture of this person'
    else:
      reason = 'eyes closed, and no open-eyed picture of this person'
    rejected += [
      Rejected(identity, entry.filename, reason)
      for entry in pictures
      if id(entry) not in used
    ]
  # Stable: the others stay in order.
  splits['train'].sort(key=lambda placed: placed.identity_size == 1)
  return splits, rejected


def write_rejected(
  rejected: Iterable[Rejected], path: str | os.PathLike
) -> None:
  """Writes one JSON object per line: `filename`, `identity`, `reason`."""
  with open(path, 'w', encoding='ascii') as file:
    for each in rejected:
      file.write(json.dumps(dataclasses.asdict(each), sort_keys=True) + '\n')


def count_reasons(rejected: Iterable[Rejected]) -> dict[str, int]:
  """Returns the number of rejected pictures per reason, largest first."""
  counts = collections.Counter(each.reason for each in rejected)
  return dict(counts.most_common())


def count(splits: Mapping[str, list[Placed]]) -> dict[str, dict[str, int]]:
  """Returns the numbers of `identities` and `records` of each split."""
  return {
    split: {
      'identities': len({p.entry.identity for p in placed}),
      'records': len(placed),
    }
    for split, placed in splits.items()
  }
