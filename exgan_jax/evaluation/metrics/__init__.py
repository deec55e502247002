"""Metrics, one module per metric.

A metric is a function of a batch on the device that returns one value per
image; `Rows` collects the values on the host.
"""

from exgan_jax.evaluation.metrics.base import Rows
from exgan_jax.evaluation.metrics.iris import (
  color_distance,
  color_sums,
  iris_weights,
)
from exgan_jax.evaluation.metrics.l1 import l1_hole_per_image, l1_per_image
from exgan_jax.evaluation.metrics.ms_ssim import (
  ms_ssim_distance_per_image,
  ms_ssim_variant,
)
from exgan_jax.evaluation.metrics.texture import BANDS, sharpness, spectrum
from exgan_jax.evaluation.metrics.verification import area, verification_auc

__all__ = [
  'BANDS',
  'Rows',
  'area',
  'color_distance',
  'color_sums',
  'iris_weights',
  'l1_hole_per_image',
  'l1_per_image',
  'ms_ssim_distance_per_image',
  'ms_ssim_variant',
  'sharpness',
  'spectrum',
  'verification_auc',
]
