"""The metrics of a batch's images, and of all images together.

`compare` and `score_batch` run on the device and return one value per image or
eye; `Scores` collects them on the host.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from exgan_jax import files
from exgan_jax.config import Config
from exgan_jax.evaluation import metrics
from exgan_jax.evaluation.faces import GEOMETRY, IDENTITY
from exgan_jax.evaluation.inception_features import cut_out
from exgan_jax.evaluation.measures import (
  AUC,
  CLASSIFIER,
  CODES,
  IRISES,
  LIDS,
  LPIPS,
  MEASURES,
  NEEDS,
  NO_STRANGER,
  NO_TRUTH,
  RATIO,
  SWAPPED,
  measure_of,
  names,
)
from exgan_jax.evaluation.metrics import Rows, bootstrap, two_sample
from exgan_jax.evaluation.results import Intervals, Metrics
from exgan_jax.models import lpips, warp
from exgan_jax.models.inputs import eye_codes, to_float
from exgan_jax.models.networks import Params

# Passed through `score_batch` so that every process gets them of all images.
PASSED = ('rows', 'has_truth', 'has_stranger', 'there')
# Sides of the crops of holes for LPIPS, which needs 63 px.
_LPIPS_SIDE = 64

Batch = Mapping[str, jax.Array]
Values = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Networks:
  """Frozen networks that compare images; None where there is none.

  Attributes:
    encoder: parameters of the compressor's encoder.
    alexnet: weights of LPIPS.
  """

  encoder: Params | None = None
  alexnet: lpips.Weights | None = None


def compare(variant: str, networks: Networks, batch: Batch) -> Values:
  """Returns the metrics that images and masks determine.

  Args:
    variant: variant of MS-SSIM.
    networks: networks that compare images.
    batch: `truth` and `painted`, uint8 [b, h, w, 3]; `mask`, the hole mask,
      bool [b, h, w, 1]; `boxes`, int32 [b, 2, 4], and `there`, bool [b, 2], of
      `masks.hole_boxes`. If known, `eyes`, float32 [b, 2, 2], eye centers;
      `irises` and `lids`, uint8 [b, 2, h, w], weights of their pixels; and
      what `faces.Faces.compare` returned.

  Returns:
    float32 [b] of measures; of those of color the sums, int32 [b, 2, 2, 4], per
    truth or result and eye; `there`; and `crops`, uint8 [b, 2, 2, s, s, 3], of
    each hole in the truth and the result.
  """
  truth, painted, mask = batch['truth'], batch['painted'], batch['mask']
  boxes, there = batch['boxes'], batch['there']
  both = truth, painted
  one, other = (x.astype(jnp.float32) / 255.0 for x in both)
  values = {
    'l1': metrics.l1_per_image(truth, painted),
    'l1_hole': metrics.l1_hole_per_image(truth, painted, mask),
    'ms_ssim': metrics.ms_ssim_distance_per_image(one, other, variant),
    'sharpness': metrics.sharpness(truth, painted, mask),
    'there': there,
    'crops': jnp.stack(
      [_crops(image, boxes, two_sample.SIDE) for image in both], axis=2
    )
    .round()
    .astype(jnp.uint8),
  }
  spectrum = metrics.spectrum(truth, painted, boxes, there)
  values |= {f'spectrum_{band}': ratio for band, ratio in spectrum.items()}
  for name, weights in ((IRISES, 'irises'), (LIDS, 'lids')):
    if weights in batch:
      sums = [metrics.color_sums(image, batch[weights]) for image in both]
      values[name] = jnp.stack(sums, axis=1)
  if networks.alexnet is not None:
    values |= _lpips(networks.alexnet, batch)
  return values | {
    name: batch[name] for name in (*GEOMETRY, *IDENTITY) if name in batch
  }


def _crops(
  image: jax.Array, boxes: jax.Array, side: int
) -> Float[Array, 'b 2 s s 3']:
  return jnp.stack(
    [cut_out(image, boxes[:, i], side) for i in range(boxes.shape[1])], axis=1
  )


def _lpips(alexnet: lpips.Weights, batch: Batch) -> Values:
  """Returns LPIPS of the eye strips, if eyes are known, and of the holes."""
  values = {}
  both = batch['truth'], batch['painted']
  if 'eyes' in batch:
    # Not all data sets have eye corners, but all have the centers.
    corners = warp.corners_of_eyes(batch['eyes'])
    one, other = (lpips.strips(to_float(image), corners) for image in both)
    values[LPIPS] = lpips.distance(alexnet, one, other)
  total, there = jnp.zeros(len(batch['there'])), batch['there']
  crops = [_crops(image, batch['boxes'], _LPIPS_SIDE) for image in both]
  for i in range(there.shape[1]):
    one, other = (crop[:, i] / 127.5 - 1.0 for crop in crops)
    distance = lpips.distance(alexnet, one, other)
    total += jnp.where(there[:, i], distance, 0.0)
  number = jnp.maximum(there.sum(axis=1), 1).astype(jnp.float32)
  return values | {'lpips_hole': total / number}


def score_batch(coder: Config, networks: Networks, batch: Batch) -> Values:
  """Returns all metrics of the images of a batch.

  Args:
    coder: configuration of the compressor, or of the model without one.
    networks: networks that compare images.
    batch: the input of `compare` with `eyes`, and `PASSED`.

  Returns:
    The output of `compare`; with an encoder `code_distance`, float32 [b]; and
    `PASSED` unchanged.
  """
  variant = metrics.ms_ssim_variant(coder.resolution)
  values = compare(variant, networks, batch)
  if (encoder := networks.encoder) is not None:
    true, painted = (
      eye_codes(coder, encoder, to_float(batch[name]), batch['eyes'])
      for name in ('truth', 'painted')
    )
    values[CODES] = jnp.sqrt(jnp.sum((true - painted) ** 2, axis=-1))
  return values | {name: batch[name] for name in PASSED}


def score_swapped(coder: Config, networks: Networks, batch: Batch) -> Values:
  """Returns what is also measured with a stranger's reference."""
  values = score_batch(coder, networks, batch)
  wanted = [name for name, one in MEASURES.items() if one.has_swapped]
  return {name: x for name, x in values.items() if name in (*wanted, 'there')}


class Scores:
  """The metrics of one method over all images."""

  def __init__(self):
    self._states: dict[str, Rows] = {}
    self._crops = self._there = Rows()

  def add(
    self,
    values: Mapping[str, np.ndarray],
    rows: np.ndarray,
    counted: np.ndarray,
  ) -> None:
    """Adds the counted images of a batch.

    Args:
      values: output of `compare` or `score_batch`.
      rows: int [b], rows of the images in the evaluation.
      counted: bool [b].
    """
    self._add(values, rows, counted)
    new = Rows.from_values(rows, values['crops'], counted)
    self._crops = self._crops.merge(new)
    new = Rows.from_values(rows, values['there'], counted)
    self._there = self._there.merge(new)

  def add_swapped(
    self,
    values: Mapping[str, np.ndarray],
    rows: np.ndarray,
    counted: np.ndarray,
  ) -> None:
    """Adds the output of `score_swapped`."""
    self._add(values, rows, counted, SWAPPED)

  def _add(
    self,
    values: Mapping[str, np.ndarray],
    rows: np.ndarray,
    counted: np.ndarray,
    suffix: str = '',
  ) -> None:
    has_hole = values['there'].any(axis=-1)
    for name, measure in MEASURES.items():
      if name not in values:
        continue
      value, places, counts = values[name], rows, counted
      if name in (IRISES, LIDS):
        value = metrics.color_distance(value[:, 0], value[:, 1])
      if measure.of_eyes:
        places, counts = 2 * rows[:, None] + np.arange(2), counts[:, None]
      if 'masks' in measure.needs:
        counts = counts & has_hole
      # NaN where no face was found, or where the truth has no structure.
      self._put(name + suffix, places, value, counts & ~np.isnan(value))

  def _put(
    self,
    name: str,
    rows: np.ndarray,
    values: np.ndarray,
    counted: np.ndarray,
  ) -> None:
    new = Rows.from_values(rows, values, counted)
    self._states[name] = self._states.get(name, Rows()).merge(new)

  def finish(self, people: np.ndarray) -> None:
    """Computes what needs all images; call it once, after the last batch.

    Args:
      people: int [n], the person of each row.
    """
    if not len(self._crops):
      return
    rows, crops = self._crops.ordered()
    _, there = self._there.ordered()
    values = two_sample.accuracies(crops, there, people[rows])
    if values is not None:
      self._put(CLASSIFIER, rows, values, ~np.isnan(values))
    self._crops = Rows()

  def compute(self, variant: str | None) -> Metrics:
    """Returns the `metrics` object of results.json.

    Args:
      variant: variant of MS-SSIM.
    """
    found: Metrics = {}
    for name in names():
      state = self._states.get(name, Rows())
      by_median = measure_of(name).by_median
      found[name] = state.median() if by_median else state.mean()
    right, swapped = (
      self._states.get(f'l1_hole{end}', Rows()).mean() for end in ('', SWAPPED)
    )
    # 1 where the reference does not matter.
    found[RATIO] = swapped / right if right and swapped else None
    own, others = (
      np.concatenate(self._states.get(name, Rows()).values or ([],))
      for name in IDENTITY[1:]
    )
    found[AUC] = metrics.area(own, others)
    return found | {'ms_ssim_variant': variant}

  def intervals(self, people: np.ndarray) -> Intervals:
    """Returns bootstrap intervals, if there are images of several people.

    Args:
      people: int [n], the person of each row.
    """
    found = {}
    for name, state in self._states.items():
      if not len(state):
        continue
      rows, values = state.ordered()
      measure = measure_of(name)
      interval = bootstrap.interval(
        values,
        people[rows // 2 if measure.of_eyes else rows],
        bootstrap.weighted_median
        if measure.by_median
        else bootstrap.weighted_mean,
      )
      if interval:
        found[name] = interval
    return found

  def skipped(self, given: Collection[str]) -> dict[str, str]:
    """Returns why metrics are None.

    Args:
      given: those of `NEEDS` that the evaluation has.
    """
    reasons = {}
    found = self.compute(variant='')
    for name, value in found.items():
      if value is not None:
        continue
      measure = measure_of(name)
      missing = [NEEDS[need] for need in measure.needs if need not in given]
      if missing:
        reasons[name] = missing[0]
      elif found['l1'] is None:
        reasons[name] = NO_TRUTH
      elif name in (RATIO, AUC, IDENTITY[2]) or (
        name.endswith(SWAPPED) and found[name.removesuffix(SWAPPED)] is not None
      ):
        reasons[name] = NO_STRANGER
      else:
        reasons[name] = measure.otherwise
    return reasons

  def columns(self, number: int) -> dict[str, np.ndarray]:
    """Returns one value per image, float64 [number], NaN where there is none.

    A metric of eyes has two columns, `_left` and `_right`.
    """
    columns: dict[str, np.ndarray] = {}
    for name, state in self._states.items():
      if not len(state):
        continue
      names = [name]
      if measure_of(name).of_eyes:
        names = [f'{name}_left', f'{name}_right']
      rows, values = state.ordered()
      flat = np.full(len(names) * number, np.nan)
      flat[rows] = values
      by_name = flat.reshape(number, len(names)).T
      columns |= dict(zip(names, by_name, strict=True))
    return columns


def save_csv(
  path: str | os.PathLike,
  titles: Mapping[str, Sequence[Any]],
  scores: Mapping[str, Scores],
) -> None:
  """Writes one line per image atomically, creating the folder.

  Args:
    path: path of the file.
    titles: the columns that identify an image.
    scores: scores of the model, under '', and of other methods, whose columns
      are `<method>/<metric>`.

  Raises:
    OSError: the file cannot be written.
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
