"""FID and the Inception Score of a method's pictures, batch by batch.

Of whole pictures, and of their holes alone: each hole, at most two a picture,
is cut out and resized to the size that the network sees.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, UInt8

from exgan_jax.errors import InputError
from exgan_jax.evaluation import inception, inception_weights
from exgan_jax.evaluation.metrics import Rows, frechet_sampling
from exgan_jax.evaluation.metrics.frechet import Gaussian, frechet_distance
from exgan_jax.evaluation.metrics.inception_score import (
  SPLITS,
  inception_score,
  shuffled,
)
from exgan_jax.runtime import sharding

NO_WEIGHTS = 'needs the Inception weights (--inception)'
UNVERIFIED = 'the Inception weights are not the published ones'
TOO_FEW = 'takes at least {} pictures'
TOO_MANY = 'features of more than {:,} pictures are not kept'

# Features take 8 kB a picture and hole, beside the 33 MB of their sums; logits,
# which are always kept, 4 kB.
KEPT = 20_000
# Twice the smallest sample: a line takes more than one place.
ENOUGH_FOR_LIMIT = 2 * frechet_sampling.SMALLEST

HOLES = 2
WHOLE, HOLE = '', '_hole'
KINDS = (WHOLE, HOLE)
NOTHING = {
  WHOLE: 'no picture has an original to compare with',
  HOLE: 'no picture has a hole and an original',
}

Metrics = dict[str, float | None]
Intervals = dict[str, list[float]]
Gaussians = Mapping[str, Gaussian]


@dataclasses.dataclass(frozen=True)
class Extractor:
  """The Inception network with weights.

  Attributes:
    apply: from pictures uint8 [b, h, w, 3] and the boxes of their holes, int32
      [b, 2, 4] (`masks.hole_boxes`), both spread over the mesh, to features and
      logits of the pictures ([b, ...]) and of the holes ([b, 2, ...]), by kind,
      on all devices.
    verified: whether the weights are those that FID is defined by.
    sha256: of the weights.
  """

  apply: Callable[
    [UInt8[Array, 'b h w 3'], Int[Array, 'b 2 4']],
    dict[str, tuple[Float[Array, 'b ... f'], Float[Array, 'b ... c']]],
  ]
  verified: bool
  sha256: str


def make_extractor(
  mesh: Mesh,
  path: str | os.PathLike | None,
  unverified: str | os.PathLike | None,
) -> Extractor | None:
  """Returns the network with the weights that were named, None without any.

  Args:
    mesh: over which pictures are spread.
    path: of the published weights, `download` to fetch them.
    unverified: path of any others in that layout.

  Raises:
    InputError: they cannot be read, or are not the published ones.
  """
  if path and unverified:
    raise InputError(
      '--inception and --unverified-inception exclude each other'
    )
  if not (path or unverified):
    return None
  if unverified:
    weights = inception_weights.load_unverified(unverified)
  else:
    weights = inception_weights.load(path)
  return Extractor(
    _apply(weights, mesh), not unverified, inception_weights.hash_of(weights)
  )


def _apply(weights: inception_weights.Weights, mesh: Mesh) -> Callable:
  structure = nnx.graphdef(inception.abstract())
  state = jax.device_put(
    inception_weights.parameters(weights), sharding.replicated(mesh)
  )

  def apply(state, batch):
    pictures, boxes = batch
    network = nnx.merge(structure, state)
    holes = jax.vmap(cut_out, in_axes=(None, 1), out_axes=1)(pictures, boxes)
    flat = holes.reshape(-1, *holes.shape[2:])
    of_holes = (x.reshape(*boxes.shape[:2], -1) for x in network(flat))
    return {WHOLE: network(pictures), HOLE: tuple(of_holes)}

  jitted = jax.jit(
    sharding.one_by_one(apply, mesh), out_shardings=sharding.replicated(mesh)
  )
  return lambda pictures, boxes: jitted(state, (pictures, boxes))


def cut_out(
  pictures: UInt8[Array, 'b h w 3'], boxes: Int[Array, 'b 4']
) -> Float[Array, 'b 299 299 3']:
  """Cuts a box out of each picture and resizes it as the network does.

  Args:
    pictures: to cut from.
    boxes: left, top, right and bottom edge in pixels.
  """

  def weights(low, high, side):
    # As `inception.resize`: a pixel and the next one, none beyond the box.
    step = (high - low).astype(jnp.float32) / inception.SIDE
    at = jnp.arange(inception.SIDE, dtype=jnp.float32)[None] * step[:, None]
    last = (high - low - 1).astype(jnp.float32)[:, None]
    at = low.astype(jnp.float32)[:, None] + jnp.minimum(at, last)
    pixels = jnp.arange(side, dtype=jnp.float32)[None, None]
    return jnp.maximum(1.0 - jnp.abs(at[..., None] - pixels), 0.0)

  height, width = pictures.shape[1:3]
  down = weights(boxes[:, 1], boxes[:, 3], height)
  across = weights(boxes[:, 0], boxes[:, 2], width)
  precision = jax.lax.Precision.HIGHEST
  x = pictures.astype(jnp.float32)
  x = jnp.einsum('bsh,bhwc->bswc', down, x, precision=precision)
  return jnp.einsum('btw,bswc->bstc', across, x, precision=precision)


class Distribution:
  """What the network says of a method's pictures, or of the originals.

  Args:
    number: of pictures that there may be.
    is_original: then only the `gaussians` are kept.
  """

  def __init__(self, number: int, *, is_original: bool = False):
    self._scores = not is_original
    self._keeps = self._scores and number <= KEPT
    self._gaussians = {
      kind: Gaussian.empty(inception.FEATURES) for kind in KINDS
    }
    self._features = dict.fromkeys(KINDS, Rows())
    self._logits = dict.fromkeys(KINDS, Rows())

  def add(
    self,
    found: Mapping[str, tuple[np.ndarray, np.ndarray]],
    rows: Int[np.ndarray, ' b'],
    counted: Bool[np.ndarray, ' b'],
    has_hole: Bool[np.ndarray, 'b 2'],
  ) -> None:
    """Adds the counted pictures of a batch, and the holes that they have.

    Raises:
      InputError: the network gave something that is not a number.
    """
    holes = HOLES * rows[:, None] + np.arange(HOLES)
    of_kind = {
      WHOLE: (rows, counted),
      HOLE: (holes, counted[:, None] & has_hole),
    }
    for kind, (places, counts) in of_kind.items():
      features, logits = (np.asarray(x) for x in found[kind])
      features = features.reshape(-1, features.shape[-1])
      logits = logits.reshape(-1, logits.shape[-1])
      places, counts = places.reshape(-1), counts.reshape(-1)
      if not np.isfinite(features[counts]).all():
        raise InputError(
          'the Inception weights give features that are no numbers'
        )
      new = Gaussian.from_values(features, counts)
      self._gaussians[kind] = self._gaussians[kind].merge(new)
      if self._scores:
        new = Rows.from_values(places, logits, counts)
        self._logits[kind] = self._logits[kind].merge(new)
      if self._keeps:
        new = Rows.from_values(places, features, counts)
        self._features[kind] = self._features[kind].merge(new)

  @property
  def gaussians(self) -> Gaussians:
    """Mean and covariance of the features of each kind."""
    return self._gaussians

  def metrics(
    self,
    originals: Gaussians,
    extractor: Extractor | None,
    people: Int[np.ndarray, ' n'],
  ) -> tuple[Metrics, Intervals, dict[str, str]]:
    """Returns the metrics, intervals of some, and why some are None.

    With unverified weights they have names that cannot be mistaken.

    Args:
      originals: what the original pictures are like.
      extractor: the network.
      people: whose picture each row is.
    """
    values: Metrics = {}
    for kind in KINDS:
      values |= {f'fid{kind}': None, f'inception_score{kind}': None}
    if extractor is None:
      return values, {}, dict.fromkeys(values, NO_WEIGHTS)
    intervals, skipped = {}, {}
    if not extractor.verified:
      skipped = dict.fromkeys(values, UNVERIFIED)
    for kind in KINDS:
      fid, limit, score = _names(kind, extractor.verified)
      # Both people's eyes count as theirs.
      owners = people if kind == WHOLE else np.repeat(people, HOLES)
      found, interval, reasons = self._distances(kind, originals, owners)
      values |= {fid: found[0], limit: found[1]}
      skipped |= {(fid, limit)[i]: reason for i, reason in reasons.items()}
      if interval:
        intervals[fid] = interval
      values |= {score: None, f'{score}_std': None}
      if len(self._logits[kind]) >= SPLITS:
        logits = shuffled(self._logits[kind].ordered()[1])
        values[score], values[f'{score}_std'] = inception_score(logits)
      else:
        some = len(self._logits[kind])
        reason = TOO_FEW.format(SPLITS) if some else NOTHING[kind]
        skipped |= dict.fromkeys((score, f'{score}_std'), reason)
    return values, intervals, skipped

  def _distances(
    self, kind: str, originals: Gaussians, people: Int[np.ndarray, ' n']
  ) -> tuple[tuple[float | None, ...], list[float] | None, dict[int, str]]:
    """The distance and its limit, the interval, and why one of them is None."""
    if min(self._gaussians[kind].count, originals[kind].count) < 2:
      some = self._gaussians[kind].count
      reason = TOO_FEW.format(2) if some else NOTHING[kind]
      return (None, None), None, {0: reason, 1: reason}
    distance = frechet_distance(originals[kind], self._gaussians[kind])
    if not self._keeps:
      return (distance, None), None, {1: TOO_MANY.format(KEPT)}
    target = frechet_sampling.Target(originals[kind])
    rows, vectors = self._features[kind].ordered()
    spread = frechet_sampling.deviation(target, vectors, people[rows])
    interval = None
    if spread is not None:
      reach = frechet_sampling.DEVIATIONS * spread
      interval = [distance - reach, distance + reach]
    if len(vectors) < ENOUGH_FOR_LIMIT:
      reason = TOO_FEW.format(f'{ENOUGH_FOR_LIMIT:,}')
      return (distance, None), interval, {1: reason}
    limit = frechet_sampling.limit(target, vectors)
    return (distance, limit), interval, {}


def _names(kind: str, verified: bool) -> tuple[str, str, str]:
  """Names of the distance, of its limit, and of the score."""
  if verified:
    return f'fid{kind}', f'fid{kind}_infinity', f'inception_score{kind}'
  return (
    f'frechet_distance{kind}_unverified',
    f'frechet_distance{kind}_infinity_unverified',
    f'inception_score{kind}_unverified',
  )
