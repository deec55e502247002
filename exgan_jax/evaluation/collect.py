"""The metrics of a batch's images, and of all images together.

`compare` and `score_batch` run on the device and return one value per image or
eye; `Scores` collects them on the host.
"""

from __future__ import annotations

import csv
import dataclasses
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
from exgan_jax.evaluation.results import Intervals, Metrics
from exgan_jax.models import lpips, warp
from exgan_jax.models.inputs import eye_codes, to_float
from exgan_jax.models.networks import Params

NO_TRUTH = 'the split has no images of the same scenes with open eyes'
NO_STRANGER = 'the split has images of only one person'
NO_COMPRESSOR = 'needs a compressor (--compressor)'
NO_LPIPS = 'needs the LPIPS weights (--lpips)'
NO_IRISES = 'the data set has no iris positions'
NO_HOLES = 'no mask has a hole'

PIXELS = ('l1', 'l1_hole', 'ms_ssim', 'ms_ssim_hole')
LPIPS = 'lpips'
CODES = 'code_distance'
FRECHET = 'frechet_code_distance'
IRISES = 'iris_delta_e'
# Also measured with a stranger's reference, as `<name>_swapped`.
SWAPPED = ('l1_hole', CODES, IRISES)

# Passed through `score_batch` so that every process gets them of all images.
PASSED = ('rows', 'has_truth', 'has_stranger', 'has_hole_at')

Batch = Mapping[str, jax.Array]
Values = dict[str, jax.Array]


def compare(variant: str, _: None, batch: Batch) -> Values:
  """Returns the metrics of pixels.

  Args:
    variant: variant of MS-SSIM.
    _: not used.
    batch: `truth` and `painted`, uint8 [b, h, w, 3]; `mask`, the hole mask,
      bool [b, h, w, 1].

  Returns:
    float32 [b] for each of `PIXELS`, and `has_hole`, bool [b].
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


def score_batch(coder: Config, networks: Networks, batch: Batch) -> Values:
  """Returns all metrics of the images of a batch.

  Args:
    coder: configuration of the compressor, or of the model without one.
    networks: networks that compare images.
    batch: the input of `compare`; `eyes`, float32 [b, 2, 2], eye centers;
      `irises`, uint8 [b, 2, h, w], iris weights; and `PASSED`.

  Returns:
    The output of `compare`; `iris_sums`, int32 [b, 2, 2, 4], per truth or
    result and eye; with LPIPS's weights `lpips`, float32 [b], of the eye
    strips; with an encoder `code_distance`, float32 [b], and `codes`, float32
    [b, 2, codes], of truth and result; and `PASSED` unchanged.
  """
  values = compare(metrics.ms_ssim_variant(coder.resolution), None, batch)
  both = batch['truth'], batch['painted']
  values['iris_sums'] = jnp.stack(
    [metrics.iris_sums(image, batch['irises']) for image in both], axis=1
  )
  if networks.alexnet is not None:
    # Not all data sets have eye corners, but all have the centers.
    corners = warp.corners_of_eyes(batch['eyes'])
    true, painted = (lpips.strips(to_float(image), corners) for image in both)
    values[LPIPS] = lpips.distance(networks.alexnet, true, painted)
  if (encoder := networks.encoder) is not None:
    codes = jnp.stack(
      [
        eye_codes(coder, encoder, to_float(image), batch['eyes'])
        for image in both
      ],
      axis=1,
    )
    values['codes'] = codes
    difference = codes[:, 0] - codes[:, 1]
    values[CODES] = jnp.sqrt(jnp.sum(difference**2, axis=-1))
  return values | {name: batch[name] for name in PASSED}


class Scores:
  """The metrics of one method over all images."""

  def __init__(self):
    swapped = (f'{name}_swapped' for name in SWAPPED)
    self._states = dict.fromkeys(
      (*PIXELS, LPIPS, CODES, IRISES, *swapped), Rows()
    )
    self._gaussians: tuple[Gaussian, Gaussian] | None = None

  def add(
    self,
    values: Mapping[str, np.ndarray],
    rows: np.ndarray,
    counted: np.ndarray,
    suffix: str = '',
  ) -> None:
    """Adds the counted images of a batch.

    Args:
      values: output of `compare` or `score_batch`.
      rows: int [b], rows of the images in the evaluation.
      counted: bool [b].
      suffix: `_swapped` for images painted with a stranger's reference.
    """
    values = dict(values)
    if (sums := values.get('iris_sums')) is not None:
      values[IRISES] = metrics.iris_delta_e(sums[:, 0], sums[:, 1])
    for name in (*PIXELS, LPIPS, CODES, IRISES):
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
      true, painted = (
        Gaussian.from_values(values['codes'][:, i], counted) for i in range(2)
      )
      if self._gaussians:
        true = self._gaussians[0].merge(true)
        painted = self._gaussians[1].merge(painted)
      self._gaussians = true, painted

  def compute(self, variant: str | None) -> Metrics:
    """Returns the `metrics` object of results.json.

    Args:
      variant: variant of MS-SSIM.
    """
    found: Metrics = {}
    for name, state in self._states.items():
      is_iris = name.startswith(IRISES)
      found[name] = state.median() if is_iris else state.mean()
    right, swapped = (
      self._states[name].mean() for name in ('l1_hole', 'l1_hole_swapped')
    )
    # 1 where the reference does not matter.
    found['l1_hole_swapped_ratio'] = (
      swapped / right if right and swapped else None
    )
    found[FRECHET] = None
    if self._gaussians and self._gaussians[0].count > 1:
      found[FRECHET] = frechet_distance(*self._gaussians)
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
      of_eyes = name.startswith(IRISES)
      interval = bootstrap.interval(
        values,
        people[rows // 2 if of_eyes else rows],
        bootstrap.weighted_median if of_eyes else bootstrap.weighted_mean,
      )
      if interval:
        found[name] = interval
    return found

  def skipped(self, networks: Networks) -> dict[str, str]:
    """Returns why metrics are None."""
    reasons = {}
    found = self.compute(variant='')
    for name, value in found.items():
      if value is not None:
        continue
      if found['l1'] is None:
        reasons[name] = NO_TRUTH
      elif name == LPIPS:
        reasons[name] = NO_LPIPS
      elif name.startswith((CODES, FRECHET)) and networks.encoder is None:
        reasons[name] = NO_COMPRESSOR
      elif name.startswith(IRISES) and found[IRISES] is None:
        reasons[name] = NO_IRISES
      elif name == FRECHET:
        reasons[name] = 'needs at least 2 images'
      elif name.startswith(('l1_hole', 'ms_ssim_hole')) and (
        not found['l1_hole']
      ):
        reasons[name] = NO_HOLES
      else:
        reasons[name] = NO_STRANGER
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
      if name.startswith(IRISES):
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
