"""Metrics, one module per metric.

A metric is a function of a batch on the device that returns one value per
image; `Rows` collects the values on the host.
"""

from exgan_jax.evaluation.metrics.base import Rows
from exgan_jax.evaluation.metrics.iris import (
  iris_delta_e,
  iris_sums,
  iris_weights,
)
from exgan_jax.evaluation.metrics.l1 import (
  has_hole,
  l1_hole_per_image,
  l1_per_image,
)
from exgan_jax.evaluation.metrics.ms_ssim import (
  ms_ssim_distance_per_image,
  ms_ssim_variant,
)
from exgan_jax.evaluation.metrics.verification import verification_auc

__all__ = [
  'Rows',
  'has_hole',
  'iris_delta_e',
  'iris_sums',
  'iris_weights',
  'l1_hole_per_image',
  'l1_per_image',
  'ms_ssim_distance_per_image',
  'ms_ssim_variant',
  'verification_auc',
]
