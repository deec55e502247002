"""Records to the batches of an evaluation: the paper's protocol.

Every picture of a split comes once, with the next picture of the same person
as its reference, and the first one for the last; and besides with a picture of
somebody else, which tells how much the reference matters.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import numpy as np

from exgan_jax.input_pipeline import (
  Example,
  Records,
  decode,
  jpeg_shape,
  next_position,
  pair,
  scale_points,
)
from exgan_jax.scene import REFERENCE
from tfds_celeb_id.records import Record


@dataclasses.dataclass(frozen=True)
class EvaluationBatch:
  """A batch and what the evaluation wants to know besides.

  Attributes:
    inputs: the batch, padded to the full size by copies that are not `valid`.
      Where several references were asked for, the arrays of `REFERENCE` have
      an axis of them after the first.
    stranger: the arrays of `REFERENCE` from a picture of another person.
    has_stranger: bool [b], whether there is another person.
    truth: uint8 [b, h, w, 3], what the result is compared with.
    has_truth: bool [b], whether there is one; never for what is not valid.
    irises: float32 [b, 2, 3], x, y and radius of the irises of the truth in
      pixels; NaN where they are not known.
    filenames: of the valid pictures.
    identities: of the valid pictures.
  """

  inputs: Example
  stranger: Example
  has_stranger: np.ndarray
  truth: np.ndarray
  has_truth: np.ndarray
  irises: np.ndarray
  filenames: list[str]
  identities: list[str]

  @property
  def shown(self) -> Example:
    """The inputs with the first reference alone."""
    if self.inputs['reference'].ndim == 4:
      return self.inputs
    first = {name: self.inputs[name][:, 0] for name in REFERENCE}
    return self.inputs | first


def evaluation_positions(records: Records, split: str) -> Sequence[int]:
  """Positions of the pictures that a split's evaluation in-paints.

  All of them; of the pairs of `closed` only the first, whose eyes are shut.
  """
  return range(0, len(records), 2 if split == 'closed' else 1)


def evaluation_batches(
  records: Records,
  split: str,
  resolution: int,
  batch_size: int,
  *,
  positions: Sequence[int] | None = None,
  references: int = 1,
  threads: int = 2,
) -> Iterator[EvaluationBatch]:
  """Every picture of a split once. In `closed` only some have a truth.

  Args:
    records: of the split.
    split: its name.
    resolution: side of the pictures in pixels.
    batch_size: pictures a batch; the last one is padded to it.
    positions: of the pictures; by default `evaluation_positions`.
    references: how many of the person's next pictures; they come round again
      where there are fewer.
    threads: that read and decode.
  """
  if positions is None:
    positions = evaluation_positions(records, split)
  read = functools.partial(
    _example, records, split=split, resolution=resolution, count=references
  )
  options = grain.ReadOptions(
    num_threads=threads, prefetch_buffer_size=2 * batch_size
  )
  dataset = grain.MapDataset.source(positions).map(read)
  examples: list[dict[str, Any]] = []
  for example in dataset.to_iter_dataset(options):
    examples.append(example)
    if len(examples) == batch_size:
      yield _collate(examples, batch_size)
      examples = []
  if examples:
    yield _collate(examples, batch_size)


def next_positions(position: int, record: Record, count: int) -> list[int]:
  """Positions of the person's next pictures, in turn, never its own."""
  others = []
  following = next_position(position, record)
  start = position - record.index_in_identity
  while len(others) < count:
    if following != position:
      others.append(following)
    following = start + (following - start + 1) % record.identity_size
  return others


def stranger_position(
  records: Records, position: int, target: Record
) -> int | None:
  """Position of a picture of somebody else, half the split away.

  It is the second one of that person, which in `closed` has open eyes; None
  where all pictures are of one person.
  """
  candidate = (position + len(records) // 2) % len(records)
  for _ in range(len(records)):
    record = records[candidate]
    start = candidate - record.index_in_identity
    if record.identity != target.identity:
      return start + 1
    candidate = (start + record.identity_size) % len(records)
  return None


def _example(
  records: Records, position: int, split: str, resolution: int, count: int
) -> dict[str, Any]:
  target = records[position]
  following = next_positions(position, target, count)
  pairs = [pair(target, records[other], resolution) for other in following]
  example = pairs[0]
  if count > 1:
    several = {name: np.stack([p[name] for p in pairs]) for name in REFERENCE}
    example = example | several
  other = stranger_position(records, position, target)
  stranger = pairs[0]
  if other is not None:
    stranger = pair(target, records[other], resolution)
  truth = pairs[0]['image']
  if split == 'closed':
    truth = decode(target.truth, resolution)[0] if target.truth else None
  return {
    'inputs': example,
    'stranger': {name: stranger[name] for name in REFERENCE},
    'has_stranger': other is not None,
    'truth': truth,
    'irises': _scaled_irises(target, resolution),
    'filename': target.filename,
    'identity': target.identity,
  }


def _scaled_irises(target: Record, resolution: int) -> np.ndarray:
  if target.irises is None:
    return np.full((2, 3), np.nan, np.float32)
  scale = np.float32(resolution / jpeg_shape(target.image)[0])
  centres = scale_points(target.irises[:, :2], scale)
  return np.concatenate([centres, target.irises[:, 2:] * scale], axis=1)


def _collate(
  examples: list[dict[str, Any]], batch_size: int
) -> EvaluationBatch:
  padded = examples + examples[-1:] * (batch_size - len(examples))

  def stack(name: str) -> Example:
    return {
      key: np.stack([example[name][key] for example in padded])
      for key in examples[0][name]
    }

  valid = np.arange(batch_size) < len(examples)
  known = np.asarray([example['truth'] is not None for example in padded])
  truth = [
    example['inputs']['image'] if example['truth'] is None else example['truth']
    for example in padded
  ]
  return EvaluationBatch(
    inputs=stack('inputs') | {'valid': valid},
    stranger=stack('stranger'),
    has_stranger=np.asarray([e['has_stranger'] for e in padded]) & valid,
    truth=np.stack(truth),
    has_truth=known & valid,
    irises=np.stack([example['irises'] for example in padded]),
    filenames=[example['filename'] for example in examples],
    identities=[example['identity'] for example in examples],
  )
