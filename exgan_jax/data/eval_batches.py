"""The evaluation input pipeline, following the paper's protocol.

Every picture of a split is used once, with the person's next picture as its
reference (the first one for the last). It also comes with a picture of a
stranger, to measure how much the reference matters.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import jax
import numpy as np

from exgan_jax.data.train_batches import (
  Example,
  Records,
  check_paired,
  pair,
  reader_threads,
)
from exgan_jax.errors import InputError
from exgan_jax.face_records.codec import decode, scale_of, scale_points, side_of
from exgan_jax.face_records.record import Record
from exgan_jax.models.inputs import REFERENCE


@dataclasses.dataclass(frozen=True)
class EvaluationBatch:
  """A batch and what is needed to evaluate it.

  Attributes:
    inputs: the batch, padded to the full size with copies that are not `valid`.
      With several references the arrays of `REFERENCE` have a second axis for
      them.
    stranger: the arrays of `REFERENCE` from a picture of another person.
    has_stranger: bool [b], whether there is another person.
    truth: uint8 [b, h, w, 3], the ground truth of the result.
    has_truth: bool [b], whether it is known; false for padding.
    irises: float32 [b, 2, 3], x, y and radius of the true irises in pixels, NaN
      if unknown.
    rows: int32 [b], index of each picture in the evaluation.
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
    """The inputs with only the first reference."""
    if self.inputs['reference'].ndim == 4:
      return self.inputs
    first = {name: self.inputs[name][:, 0] for name in REFERENCE}
    return self.inputs | first


def evaluation_positions(records: Records, split: str) -> Sequence[int]:
  """Returns the positions of the pictures that are evaluated.

  These are all that have a partner. In `closed` they are the first of each
  pair, which has closed eyes.

  Raises:
    InputError: there is none.
  """
  if not records.paired:
    raise InputError(f'nobody in the {split} split has two pictures')
  return range(0, records.paired, 2 if split == 'closed' else 1)


@dataclasses.dataclass(frozen=True)
class Listing:
  """File name and identity of each evaluated picture."""

  filenames: list[str]
  identities: list[str]

  @property
  def people(self) -> np.ndarray:
    """int [n], a number for each identity."""
    return np.unique(np.asarray(self.identities), return_inverse=True)[1]


def listing(records: Records, positions: Sequence[int]) -> Listing:
  """Reads the file names and identities of some records."""
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
  """Yields this process's part of the batches of an evaluation.

  Args:
    records: of the split.
    split: its name. In `closed` the ground truth of some pictures is unknown.
    resolution: side of the pictures in pixels.
    batch_size: pictures per global batch, a multiple of the process count; the
      last batch is padded.
    positions: of the pictures; `evaluation_positions` by default.
    references: number of reference images per picture; if the person has fewer
      they are repeated.
    threads: number of reader threads; 0 chooses by the CPU cores.
    process_index: index of this process.
    process_count: number of processes. All get the same number of batches.
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
  examples = iter(dataset.to_iter_dataset(options))
  for start in range(0, len(rows), local):
    part = rows[start : start + local]
    valid = part < len(positions)
    batch: dict[str, Any] = jax.tree.map(
      lambda *arrays: np.stack(arrays), *(next(examples) for _ in part)
    )
    batch['inputs']['valid'] = valid
    batch['has_stranger'] &= valid
    batch['has_truth'] &= valid
    yield EvaluationBatch(**batch, rows=part.astype(np.int32))


def next_positions(position: int, record: Record, count: int) -> list[int]:
  """Returns positions of the person's next pictures, cyclic, without its own.

  Raises:
    InputError: the person has no other picture.
  """
  check_paired(record)
  start, size = position - record.index_in_identity, record.identity_size
  return [
    start + (record.index_in_identity + 1 + i % (size - 1)) % size
    for i in range(count)
  ]


def stranger_position(
  records: Records, position: int, target: Record
) -> int | None:
  """Returns the position of a picture of another person, half a split away.

  It is that person's second picture, which in `closed` has open eyes. Returns
  None if all pictures show one person.
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
  example = stranger = pairs[0]
  if count > 1:
    several = {name: np.stack([p[name] for p in pairs]) for name in REFERENCE}
    example = example | several
  other = stranger_position(records, position, target)
  if other is not None:
    stranger = pair(target, records[other], resolution)
  truth, has_truth = example['image'], True
  if split == 'closed':
    has_truth = bool(target.truth)
    if target.truth:
      truth, _ = decode(target.truth, resolution)
  irises = np.full((2, 3), np.nan, np.float32)
  if target.irises is not None:
    scale = scale_of(resolution, side_of(target.image))
    irises = np.concatenate(
      [scale_points(target.irises[:, :2], scale), target.irises[:, 2:] * scale],
      axis=1,
    )
  return {
    'inputs': example,
    'stranger': {name: stranger[name] for name in REFERENCE},
    'has_stranger': other is not None,
    'truth': truth,
    'has_truth': has_truth,
    'irises': irises,
  }
