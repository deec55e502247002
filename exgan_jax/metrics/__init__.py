"""How far results are from the originals; one module a metric.

A metric is a function of a batch on the device that gives one value a
picture; `Mean` is the state that collects them on the host.
"""

from exgan_jax.metrics.base import Mean
from exgan_jax.metrics.l1 import has_hole, l1_hole_per_image, l1_per_image
from exgan_jax.metrics.ms_ssim import (
  ms_ssim_distance_per_image,
  ms_ssim_variant,
)

__all__ = [
  'Mean',
  'has_hole',
  'l1_hole_per_image',
  'l1_per_image',
  'ms_ssim_distance_per_image',
  'ms_ssim_variant',
]
