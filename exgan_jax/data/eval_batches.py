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

from exgan_jax.data.train_batches import (
  Example,
  Records,
  decode,
  next_position,
  pair,
  reader_threads,
  scale_points,
  side_of,
)
from exgan_jax.errors import InputError
from exgan_jax.face_records.record import Record
from exgan_jax.models.inputs import REFERENCE


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
    rows: int32 [b], the pictures' places among all that are evaluated.
  """

  inputs: Example
  stranger: Example
  has_stranger: np.ndarray
  truth: np.ndarray
  has_truth: np.ndarray
  irises: np.ndarray
  rows: np.ndarray

  @property
  def shown(self) -> Example:
    """The inputs with the first reference alone."""
    if self.inputs['reference'].ndim == 4:
      return self.inputs
    first = {name: self.inputs[name][:, 0] for name in REFERENCE}
    return self.inputs | first


def evaluation_positions(records: Records, split: str) -> Sequence[int]:
  """Positions of the pictures that a split's evaluation in-paints.

  All that have a partner; of the pairs of `closed` only the first, whose eyes
  are shut.

  Raises:
    InputError: there is none.
  """
  if not records.paired:
    raise InputError(f'nobody in the {split} split has two pictures')
  return range(0, records.paired, 2 if split == 'closed' else 1)


@dataclasses.dataclass(frozen=True)
class Listing:
  """Which pictures an evaluation in-paints, a row each.

  Attributes:
    filenames: of the records.
    identities: of the people.
  """

  filenames: list[str]
  identities: list[str]

  @property
  def people(self) -> np.ndarray:
    """int [n], a number for each identity."""
    return np.unique(np.asarray(self.identities), return_inverse=True)[1]


def listing(records: Records, positions: Sequence[int]) -> Listing:
  """Reads whose pictures there are at some positions."""
  found = [records[position] for position in positions]
  return Listing(
    [record.filename for record in found],
    [record.identity for record in found],
  )


def evaluation_batches(
  records: Records,
  split: str,
  resolution: int,
  batch_size: int,
  *,
  positions: Sequence[int] | None = None,
  references: int = 1,
  threads: int = 0,
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[EvaluationBatch]:
  """Every picture with a partner once. In `closed` only some have a truth.

  Args:
    records: of the split.
    split: its name.
    resolution: side of the pictures in pixels.
    batch_size: pictures a batch of all processes together, a multiple of their
      number; the last batch is padded to it.
    positions: of the pictures; by default `evaluation_positions`.
    references: how many of the person's next pictures; they come round again
      where there are fewer.
    threads: that read and decode; 0: as the cores are.
    process_index: which process's part of every batch to read.
    process_count: among how many. All get the same number of batches.
  """
  if positions is None:
    positions = evaluation_positions(records, split)
  local = batch_size // process_count
  rows = np.arange(-(-len(positions) // batch_size) * batch_size)
  rows = rows.reshape(-1, process_count, local)[:, process_index].reshape(-1)
  read = functools.partial(
    _example, records, split=split, resolution=resolution, count=references
  )
  options = grain.ReadOptions(
    num_threads=reader_threads(threads), prefetch_buffer_size=2 * local
  )
  dataset = grain.MapDataset.source(rows).map(
    lambda row: read(positions[min(int(row), len(positions) - 1)])
  )
  examples: list[dict[str, Any]] = []
  taken = 0
  for example in dataset.to_iter_dataset(options):
    examples.append(example)
    if len(examples) == local:
      part = rows[taken : taken + local]
      yield _collate(examples, part, part < len(positions))
      examples, taken = [], taken + local


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
  candidate = (position + records.paired // 2) % records.paired
  for _ in range(records.paired):
    record = records[candidate]
    start = candidate - record.index_in_identity
    if record.identity != target.identity:
      return start + 1
    candidate = (start + record.identity_size) % records.paired
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
  }


def _scaled_irises(target: Record, resolution: int) -> np.ndarray:
  if target.irises is None:
    return np.full((2, 3), np.nan, np.float32)
  scale = np.float32(resolution / side_of(target.image))
  centres = scale_points(target.irises[:, :2], scale)
  return np.concatenate([centres, target.irises[:, 2:] * scale], axis=1)


def _collate(
  examples: list[dict[str, Any]], rows: np.ndarray, valid: np.ndarray
) -> EvaluationBatch:
  def stack(name: str) -> Example:
    return {
      key: np.stack([example[name][key] for example in examples])
      for key in examples[0][name]
    }

  known = np.asarray([example['truth'] is not None for example in examples])
  truth = [
    example['inputs']['image'] if example['truth'] is None else example['truth']
    for example in examples
  ]
  return EvaluationBatch(
    inputs=stack('inputs') | {'valid': valid},
    stranger=stack('stranger'),
    has_stranger=np.asarray([e['has_stranger'] for e in examples]) & valid,
    truth=np.stack(truth),
    has_truth=known & valid,
    irises=np.stack([example['irises'] for example in examples]),
    rows=rows.astype(np.int32),
  )
