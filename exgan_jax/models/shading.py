"""Low bands of pictures: Gaussian blur, and smooth filling of holes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Sweeps at each level of `fill_holes`, and what an error of the largest scale
# that is to vanish loses in one. Drawn faces of 128 pixels with holes of 40 are
# off by less than a quarter of a grey level in the mean.
_SWEEPS, _RADIUS = 24, 0.99
# The coarsest level has at least this many cells along its shorter side.
_COARSEST = 2
# Cells with less of their area known than this count as unknown.
_KNOWN = 0.05


def blur(
  image: Float[Array, 'b h w c'], sigma: float
) -> Float[Array, 'b h w c']:
  """Gaussian blur whose weights add up to 1 at the edges, too.

  Args:
    image: pictures of any range.
    sigma: standard deviation in pixels.
  """
  _, height, width, _ = image.shape
  rows, columns = _gaussian(height, sigma), _gaussian(width, sigma)
  return jnp.einsum('ij,bjkc,lk->bilc', rows, image, columns)


@functools.lru_cache(maxsize=32)
def _gaussian(size: int, sigma: float) -> np.ndarray:
  offsets = np.subtract.outer(np.arange(size), np.arange(size))
  weights = np.exp(-0.5 * (offsets / sigma) ** 2)
  return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def fill_holes(
  values: Float[Array, 'b h w c'], known: Float[Array, 'b h w 1']
) -> Float[Array, 'b h w c']:
  """Fills unknown cells harmonically: each becomes the mean of its neighbours.

  That is the membrane of Perez et al. 2003, "Poisson Image Editing", equation
  2, computed coarse to fine: each level starts with the enlarged solution of
  the level below and takes a fixed number of Jacobi sweeps, sped up by
  Chebyshev's semi-iteration (Golub and Varga 1961).

  Args:
    values: of each cell; ignored where unknown. Sides are even as often as
      possible: a level with an odd side is the coarsest one.
    known: weight of each cell in [0, 1]; 0 is unknown.

  Returns:
    The values where known, and smooth ones elsewhere; 0 where nothing is
    known.
  """
  levels = [(jnp.where(known > 0, values, 0.0) * known, known)]
  while _halves(levels[-1][0].shape):
    total, weight = levels[-1]
    levels.append((_halved(total), _halved(weight)))
  total, weight = levels[-1]
  # The coarsest level starts with the mean of all that is known.
  mean = jnp.sum(total, axis=(1, 2), keepdims=True) / jnp.maximum(
    jnp.sum(weight, axis=(1, 2), keepdims=True), 1e-6
  )
  filled = jnp.broadcast_to(mean, total.shape)
  for total, weight in reversed(levels):
    if filled.shape != total.shape:
      filled = jax.image.resize(filled, total.shape, 'linear')
    fixed = weight > _KNOWN
    given = total / jnp.maximum(weight, _KNOWN)
    filled = jnp.where(fixed, given, filled)

    def sweep(i, last_two, fixed=fixed, given=given):
      x, before = last_two
      swept = jnp.where(fixed, given, _neighbours(x))
      return before + jnp.asarray(_relaxation())[i] * (swept - before), x

    filled, _ = jax.lax.fori_loop(0, _SWEEPS, sweep, (filled, filled))
  return filled


def _relaxation() -> np.ndarray:
  """By how much each sweep goes beyond the one before it."""
  factors = [1.0, 1 / (1 - _RADIUS**2 / 2)]
  while len(factors) < _SWEEPS:
    factors.append(1 / (1 - _RADIUS**2 * factors[-1] / 4))
  return np.array(factors, np.float32)


def _halves(shape: tuple[int, ...]) -> bool:
  height, width = shape[1:3]
  even = not (height % 2 or width % 2)
  return even and min(height, width) // 2 >= _COARSEST


def _halved(x: jax.Array) -> jax.Array:
  b, h, w, c = x.shape
  return jnp.mean(x.reshape(b, h // 2, 2, w // 2, 2, c), axis=(2, 4))


def _neighbours(x: jax.Array) -> jax.Array:
  """Mean of the four neighbours; the edge's own value beyond the edge."""
  padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode='edge')
  vertical = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]
  horizontal = padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
  return (vertical + horizontal) * 0.25
