"""What is measured of a batch's pictures, and of all of them together.

`compare` and `score_batch` run on the device and give one value a picture, or
an eye; `Scores` collects them on the host.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from exgan_jax import files
from exgan_jax.config import Config
from exgan_jax.evaluation import metrics
from exgan_jax.evaluation.metrics import Rows, bootstrap
from exgan_jax.evaluation.metrics.frechet import Gaussian, frechet_distance
from exgan_jax.models.inputs import eye_codes, to_float
from exgan_jax.models.networks import Params

NO_TRUTH = 'the split has no picture of the same scene with open eyes'
NO_STRANGER = 'the split has pictures of one person alone'
NO_COMPRESSOR = 'needs a compressor (--compressor)'
NO_IRISES = 'the data set does not tell where the irises are'
NO_HOLES = 'no mask of any hole'

PIXELS = ('l1', 'l1_hole', 'ms_ssim', 'ms_ssim_hole')
CODES = 'code_distance'
FRECHET = 'frechet_code_distance'
IRISES = 'iris_delta_e'
# What is measured with a stranger's reference, too: `<name>_swapped`.
SWAPPED = ('l1_hole', CODES, IRISES)

# What a process says of its part of a batch, for all of them to know.
TOLD = ('rows', 'has_truth', 'has_stranger', 'has_hole_at')

Batch = Mapping[str, jax.Array]
Values = dict[str, jax.Array]
Metrics = dict[str, float | str | None]
Intervals = dict[str, list[float]]


def compare(variant: str, _: None, batch: Batch) -> Values:
  """What the pixels of pictures tell.

  Args:
    variant: of MS-SSIM.
    _: nothing.
    batch: `truth` and `painted`, uint8 [b, h, w, 3]; `mask`, bool [b, h, w, 1],
      true in the hole.

  Returns:
    float32 [b] for each of `PIXELS`, and the bool [b] `has_hole`.
  """
  truth, painted, mask = batch['truth'], batch['painted'], batch['mask']
  one, other = (x.astype(jnp.float32) / 255.0 for x in (truth, painted))
  hole = mask.astype(jnp.float32)
  return {
    'l1': metrics.l1_per_image(truth, painted),
    'l1_hole': metrics.l1_hole_per_image(truth, painted, mask),
    'ms_ssim': metrics.ms_ssim_distance_per_image(one, other, variant),
    'ms_ssim_hole': metrics.ms_ssim_distance_per_image(
      one, other, variant, hole
    ),
    'has_hole': metrics.has_hole(mask),
  }


def score_batch(coder: Config, encoder: Params | None, batch: Batch) -> Values:
  """Every metric of every picture of a batch.

  Args:
    coder: configuration of the compressor, if there is one, or of the model.
    encoder: parameters of the compressor's encoder, or None.
    batch: what `compare` wants; `eyes`, float32 [b, 2, 2], their centres;
      `irises`, uint8 [b, 2, h, w], their weights; and `TOLD`.

  Returns:
    What `compare` returns; `iris_sums`, int32 [b, 2, 2, 4], of the true and
    of the painted ones, of each eye; with an encoder `code_distance`,
    float32 [b], and `codes`, float32 [b, 2, codes], likewise of both; and
    `TOLD` as it came.
  """
  variant = metrics.ms_ssim_variant(coder.resolution)
  values = compare(variant, None, batch)
  values['iris_sums'] = jnp.stack(
    [
      metrics.iris_sums(batch[name], batch['irises'])
      for name in ('truth', 'painted')
    ],
    axis=1,
  )
  if encoder is not None:
    codes = jnp.stack(
      [
        eye_codes(coder, encoder, to_float(batch[name]), batch['eyes'])
        for name in ('truth', 'painted')
      ],
      axis=1,
    )
    values['codes'] = codes
    difference = codes[:, 0] - codes[:, 1]
    values[CODES] = jnp.sqrt(jnp.sum(difference**2, axis=-1))
  return values | {name: batch[name] for name in TOLD}


class Scores:
  """The metrics of one method over all pictures."""

  def __init__(self):
    swapped = (f'{name}_swapped' for name in SWAPPED)
    self._states = dict.fromkeys((*PIXELS, CODES, IRISES, *swapped), Rows())
    self._gaussians: tuple[Gaussian, Gaussian] | None = None

  def add(
    self,
    values: Mapping[str, np.ndarray],
    rows: np.ndarray,
    counted: np.ndarray,
    suffix: str = '',
  ) -> None:
    """Adds the counted pictures of a batch.

    Args:
      values: what `compare` or `score_batch` returned.
      rows: int [b], the pictures' places among all.
      counted: bool [b].
      suffix: `_swapped` for pictures that were painted after a stranger.
    """
    values = dict(values)
    if (sums := values.get('iris_sums')) is not None:
      values[IRISES] = metrics.iris_delta_e(sums[:, 0], sums[:, 1])
    for name in (*PIXELS, CODES, IRISES):
      if name not in values or name + suffix not in self._states:
        continue
      value, places, counts = values[name], rows, counted
      if name.endswith('_hole'):
        counts = counts & values['has_hole']
      elif name == IRISES:
        places = 2 * rows[:, None] + np.arange(2)
        counts = counts[:, None] & ~np.isnan(value)
      new = Rows.from_values(places, value, counts)
      self._states[name + suffix] = self._states[name + suffix].merge(new)
    if 'codes' in values and not suffix:
      self._add_codes(values['codes'], counted)

  def _add_codes(self, codes: np.ndarray, counted: np.ndarray) -> None:
    new = [Gaussian.from_values(codes[:, i], counted) for i in range(2)]
    before = self._gaussians or [Gaussian.empty(codes.shape[-1])] * 2
    self._gaussians = tuple(
      a.merge(b) for a, b in zip(before, new, strict=True)
    )

  def compute(self, variant: str | None) -> Metrics:
    """The `metrics` object of results.json.

    Args:
      variant: of MS-SSIM.
    """
    found = {
      name: state.median() if name.startswith(IRISES) else state.mean()
      for name, state in self._states.items()
    }
    right, swapped = found['l1_hole'], found['l1_hole_swapped']
    codes = None
    if self._gaussians and self._gaussians[0].count > 1:
      codes = frechet_distance(*self._gaussians)
    return {
      **found,
      # 1 where the reference does not matter.
      'l1_hole_swapped_ratio': swapped / right if right and swapped else None,
      FRECHET: codes,
      'ms_ssim_variant': variant,
    }

  def intervals(self, people: np.ndarray) -> Intervals:
    """Bootstrap intervals, where there are pictures of several people.

    Args:
      people: int [n], whose picture each row is.
    """
    found = {}
    for name, state in self._states.items():
      if not len(state):
        continue
      rows, values = state.ordered()
      of_eyes = name.startswith(IRISES)
      interval = bootstrap.interval(
        values,
        people[rows // 2 if of_eyes else rows],
        bootstrap.weighted_median if of_eyes else bootstrap.weighted_mean,
      )
      if interval:
        found[name] = interval
    return found

  def skipped(self, *, has_encoder: bool) -> dict[str, str]:
    """Why metrics of a split's pictures are None."""
    reasons = {}
    found = self.compute(variant='')
    for name, value in found.items():
      if value is not None:
        continue
      if found['l1'] is None:
        reasons[name] = NO_TRUTH
      elif name.startswith((CODES, FRECHET)) and not has_encoder:
        reasons[name] = NO_COMPRESSOR
      elif name.startswith(IRISES) and found[IRISES] is None:
        reasons[name] = NO_IRISES
      elif name == FRECHET:
        reasons[name] = 'takes at least 2 pictures'
      elif name.startswith(('l1_hole', 'ms_ssim_hole')) and (
        not found['l1_hole']
      ):
        reasons[name] = NO_HOLES
      else:
        reasons[name] = NO_STRANGER
    return reasons

  def columns(self, number: int) -> dict[str, np.ndarray]:
    """A value a picture, float64 [number], NaN where there is none.

    What is measured of each eye has two columns.
    """
    columns = {}
    for name, state in self._states.items():
      if not len(state):
        continue
      rows, values = state.ordered()
      each = 2 if name.startswith(IRISES) else 1
      column = np.full(each * number, np.nan)
      column[rows] = values
      names = [name] if each == 1 else [f'{name}_left', f'{name}_right']
      columns |= dict(zip(names, column.reshape(number, each).T, strict=True))
    return columns


def save_csv(
  path: str | os.PathLike,
  titles: Mapping[str, Sequence[Any]],
  scores: Mapping[str, Scores],
) -> None:
  """Writes a line a picture, whole or not at all, making the folder.

  Args:
    path: of the file.
    titles: the columns that say which picture it is.
    scores: of the model, under the name '', and of other methods, whose
      columns are `<method>/<metric>`.

  Raises:
    OSError: it cannot be written.
  """
  number = len(next(iter(titles.values())))
  columns = dict(titles)
  for method, found in scores.items():
    prefix = f'{method}/' if method else ''
    for name, column in found.columns(number).items():
      columns[prefix + name] = [
        '' if np.isnan(value) else repr(float(value)) for value in column
      ]
  text = io.StringIO(newline='')
  writer = csv.writer(text)
  writer.writerow(columns)
  writer.writerows(zip(*columns.values(), strict=True))
  files.write_text(path, text.getvalue())
