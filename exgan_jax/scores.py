"""What an evaluation measures: a batch's pictures to values, values to numbers.

`score_batch` runs on the device and gives one value a picture, or an eye;
`Scores` collects them on the host.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from exgan_jax import metrics
from exgan_jax.config import Config
from exgan_jax.evaluation_data import EvaluationBatch
from exgan_jax.scene import eye_codes
from exgan_jax.state import Params

NO_TRUTH = 'the split has no picture of the same scene with open eyes'
NO_STRANGER = 'the split has pictures of one person alone'
NO_COMPRESSOR = 'needs a compressor (--compressor)'
NO_IRISES = 'the data set does not tell where the irises are'

# What is measured with a stranger's reference, too: `<name>_swapped`.
SWAPPED = ('l1_hole', 'code_distance', 'iris_delta_e')

Values = dict[str, jax.Array]
Metrics = dict[str, float | str | None]


def score_batch(
  coder: Config,
  encoder: Params | None,
  truth: jax.Array,
  painted: jax.Array,
  mask: jax.Array,
  eyes: jax.Array,
  irises: jax.Array,
) -> Values:
  """Every metric of every picture of a batch.

  Args:
    coder: configuration of the compressor, if there is one, or of the model.
    encoder: parameters of the compressor's encoder, or None.
    truth: uint8 [b, h, w, 3].
    painted: uint8 [b, h, w, 3].
    mask: bool [b, h, w, 1], true in the hole.
    eyes: float32 [b, 2, 2], their centres.
    irises: float32 [b, 2, 3], NaN where they are not known.

  Returns:
    float32 [b] a metric, but [b, 2] for `iris_delta_e`; and the bool [b]
    `has_hole`.
  """
  original = truth.astype(jnp.float32) / 255.0
  result = painted.astype(jnp.float32) / 255.0
  hole = mask.astype(jnp.float32)
  values = {
    'l1': metrics.l1_per_image(original, result),
    'l1_hole': metrics.l1_hole_per_image(original, result, hole),
    'ms_ssim': metrics.ms_ssim_distance_per_image(
      original, result, metrics.ms_ssim_variant(truth.shape[1])
    ),
    'iris_delta_e': metrics.iris_delta_e_per_eye(original, result, irises),
    'has_hole': metrics.has_hole(hole),
  }
  if encoder is not None:
    one, other = (
      eye_codes(coder, encoder, 2.0 * image - 1.0, eyes)
      for image in (original, result)
    )
    values['code_distance'] = jnp.sqrt(jnp.sum((one - other) ** 2, axis=-1))
  return values


class Scores:
  """The metrics of one method over a split."""

  def __init__(self):
    names = ('l1', 'l1_hole', 'ms_ssim', 'code_distance')
    swapped = tuple(f'{name}_swapped' for name in SWAPPED)
    self._states = dict.fromkeys((*names, *swapped), metrics.Mean())
    for name in ('iris_delta_e', 'iris_delta_e_swapped'):
      self._states[name] = metrics.Median()

  def add(self, values: Values, batch: EvaluationBatch) -> None:
    """Adds the pictures of a batch that have a truth."""
    self._add(values, batch, batch.has_truth, '')

  def add_swapped(self, values: Values, batch: EvaluationBatch) -> None:
    """Adds the same pictures, painted after a stranger."""
    kept = {*SWAPPED, 'has_hole'}
    values = {name: value for name, value in values.items() if name in kept}
    self._add(values, batch, batch.has_truth & batch.has_stranger, '_swapped')

  def _add(self, values, batch, counted, suffix):
    values = jax.device_get(values)
    has_hole = values.pop('has_hole')
    for name, value in values.items():
      keep = counted
      if name == 'l1_hole':
        keep = keep & has_hole
      elif name == 'iris_delta_e':
        keep = keep[:, None] & ~np.isnan(value)
      state = self._states[name + suffix]
      new = type(state).from_values(value, keep)
      self._states[name + suffix] = state.merge(new)

  def compute(self, config: Config) -> Metrics:
    """The `metrics` object of results.json."""
    found = {name: state.compute() for name, state in self._states.items()}
    right, swapped = found['l1_hole'], found['l1_hole_swapped']
    return {
      **found,
      # 1 where the reference does not matter.
      'l1_hole_swapped_ratio': swapped / right if right and swapped else None,
      'ms_ssim_variant': metrics.ms_ssim_variant(config.resolution),
    }

  def skipped(self, *, has_encoder: bool) -> dict[str, str]:
    """Why metrics are None."""
    reasons = {}
    found = {name: state.compute() for name, state in self._states.items()}
    found['l1_hole_swapped_ratio'] = found['l1_hole_swapped']
    for name, value in found.items():
      if value is not None:
        continue
      if found['l1'] is None:
        reasons[name] = NO_TRUTH
      elif name.startswith('code_distance') and not has_encoder:
        reasons[name] = NO_COMPRESSOR
      elif name.startswith('iris') and found['iris_delta_e'] is None:
        reasons[name] = NO_IRISES
      else:
        reasons[name] = NO_STRANGER
    return reasons
