"""Metrics of the Inception features of a method's images, batch by batch.

They are computed for whole images and for their holes alone: each hole, at
most two per image, is cut out and resized to the size of the network's input.
The Inception Score, of 1,000 kinds of objects, is of whole images only.
"""

from __future__ import annotations

import dataclasses
import functools
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
from exgan_jax.evaluation.metrics import Rows, frechet_sampling, neighbors
from exgan_jax.evaluation.metrics.frechet import Gaussian, frechet_distance
from exgan_jax.evaluation.metrics.inception_score import (
  SPLITS,
  inception_score,
  shuffled,
)
from exgan_jax.evaluation.metrics.kernel_distance import kernel_distance
from exgan_jax.evaluation.metrics.neighbors import precision_and_recall
from exgan_jax.evaluation.metrics.separability import discriminative_scores
from exgan_jax.evaluation.results import Intervals, Metrics
from exgan_jax.runtime import sharding

NO_WEIGHTS = 'needs the Inception weights (--inception)'
UNVERIFIED = 'the Inception weights are not the published ones'
TOO_FEW = 'needs at least {} images'
TOO_MANY = 'features of more than {:,} images are not kept'

OTHERS = 'the statistics of the originals are of other images'

# Per image and hole, features take 8 kB. Their sums take 33 MB.
KEPT = 10_000
# As many vectors as dimensions and the intercept can always be separated.
SEPARABLE = (inception.FEATURES + 1) // 2

HOLES = 2
WHOLE, HOLE = '', '_hole'
KINDS = (WHOLE, HOLE)
NOTHING = {
  WHOLE: 'no image has an original to compare with',
  HOLE: 'no image has a hole and an original',
}

# The name of each metric, and with unverified weights.
_FID, _KID, _SCORE = 'fid', 'kid', 'inception_score'
_SEPARATION, _COVERAGE = ('u_ids', 'p_ids'), ('precision', 'recall')
_NAMES = (_FID, _KID, *_SEPARATION, *_COVERAGE, _SCORE)
_UNVERIFIED_NAMES = {_FID: 'frechet_distance', _KID: 'kernel_distance'}


@dataclasses.dataclass(frozen=True)
class Statistics:
  """What is known of the features of many images.

  Attributes:
    gaussian: their mean and covariance.
    features: the features by row; None of more than `KEPT` images.
  """

  gaussian: Gaussian
  features: Rows | None


Originals = Mapping[str, Statistics]


@dataclasses.dataclass(frozen=True)
class Extractor:
  """The Inception network with weights.

  Attributes:
    apply: maps images, uint8 [b, h, w, 3], and the boxes of their holes, int32
      [b, 2, 4] (`masks.hole_boxes`), both sharded over the mesh, to features
      and logits of the images ([b, ...]) and of the holes ([b, 2, ...]), by
      kind, replicated on all devices.
    verified: whether these are the weights that define FID.
    sha256: hash of the weights.
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
  """Returns the network with the given weights, or None without any.

  Args:
    mesh: mesh that batches are sharded over.
    path: path of the published weights, or `download`.
    unverified: path of other weights in the same layout.

  Raises:
    InputError: the weights cannot be read, or are not the published ones.
  """
  if path and unverified:
    raise InputError(
      '--inception and --unverified-inception cannot be used together'
    )
  if unverified:
    weights = inception_weights.load_unverified(unverified)
  elif path:
    weights = inception_weights.load(path)
  else:
    return None
  structure = nnx.graphdef(inception.abstract())
  state = jax.device_put(
    inception_weights.parameters(weights), sharding.replicated(mesh)
  )

  def apply(state, batch):
    pictures, boxes = batch
    network = nnx.merge(structure, state)
    cut = functools.partial(cut_out, side=inception.SIDE)
    holes = jax.vmap(cut, in_axes=(None, 1), out_axes=1)(pictures, boxes)
    flat = holes.reshape(-1, *holes.shape[2:])
    of_holes = (x.reshape(*boxes.shape[:2], -1) for x in network(flat))
    return {WHOLE: network(pictures), HOLE: tuple(of_holes)}

  jitted = jax.jit(
    sharding.one_by_one(apply, mesh), out_shardings=sharding.replicated(mesh)
  )
  return Extractor(
    lambda pictures, boxes: jitted(state, (pictures, boxes)),
    not unverified,
    inception_weights.hash_of(weights),
  )


def cut_out(
  pictures: UInt8[Array, 'b h w 3'], boxes: Int[Array, 'b 4'], side: int
) -> Float[Array, 'b s s 3']:
  """Cuts a box out of each image and resizes it like `inception.resize`.

  Args:
    pictures: images to cut from.
    boxes: left, top, right and bottom edges in pixels.
    side: side of the results in pixels.
  """

  def weights(low, high, length):
    # Weights of each pixel and its neighbor, clamped to the box.
    step = (high - low).astype(jnp.float32) / side
    at = jnp.arange(side, dtype=jnp.float32)[None] * step[:, None]
    last = (high - low - 1).astype(jnp.float32)[:, None]
    at = low.astype(jnp.float32)[:, None] + jnp.minimum(at, last)
    pixels = jnp.arange(length, dtype=jnp.float32)[None, None]
    return jnp.maximum(1.0 - jnp.abs(at[..., None] - pixels), 0.0)

  height, width = pictures.shape[1:3]
  down = weights(boxes[:, 1], boxes[:, 3], height)
  across = weights(boxes[:, 0], boxes[:, 2], width)
  precision = jax.lax.Precision.HIGHEST
  x = pictures.astype(jnp.float32)
  x = jnp.einsum('bsh,bhwc->bswc', down, x, precision=precision)
  return jnp.einsum('btw,bswc->bstc', across, x, precision=precision)


class Distribution:
  """Features and logits of a method's images, or of the originals.

  Args:
    number: maximum number of images.
  """

  def __init__(self, number: int):
    self._keeps = number <= KEPT
    self._sums = dict.fromkeys(KINDS, Gaussian.empty(inception.FEATURES))
    self._features = dict.fromkeys(KINDS, Rows())
    self._logits = Rows()

  def add(
    self,
    found: Mapping[str, tuple[jax.Array | np.ndarray, ...]],
    rows: Int[np.ndarray, ' b'],
    counted: Bool[np.ndarray, ' b'],
    has_hole: Bool[np.ndarray, 'b 2'],
  ) -> None:
    """Adds the counted images of a batch, and their holes.

    Args:
      found: features and logits of each kind.
      rows: rows of the images in the evaluation.
      counted: which images count.
      has_hole: which of the two holes exist.

    Raises:
      InputError: a feature is not finite.
    """
    holes = HOLES * rows[:, None] + np.arange(HOLES)
    of_kind = {
      WHOLE: (rows, counted),
      HOLE: (holes, counted[:, None] & has_hole),
    }
    for kind, (places, counts) in of_kind.items():
      features = np.asarray(found[kind][0]).reshape(-1, inception.FEATURES)
      places, counts = places.reshape(-1), counts.reshape(-1)
      if not np.isfinite(features[counts]).all():
        raise InputError('the Inception weights give features of NaN or inf')
      if self._keeps:
        new = Rows.from_values(places, features, counts)
        self._features[kind] = self._features[kind].merge(new)
      else:
        part = Gaussian.from_values(features, counts)
        self._sums[kind] = self._sums[kind].merge(part)
    logits = Rows.from_values(rows, np.asarray(found[WHOLE][1]), counted)
    self._logits = self._logits.merge(logits)

  def statistics(self) -> Originals:
    """Returns the statistics of the features of each kind."""
    return {
      kind: statistics_of(self._features[kind])
      if self._keeps
      else Statistics(self._sums[kind], None)
      for kind in KINDS
    }

  def metrics(
    self,
    originals: Originals,
    extractor: Extractor | None,
    people: Int[np.ndarray, ' n'],
  ) -> tuple[Metrics, Intervals, dict[str, str]]:
    """Returns the metrics, some intervals, and why metrics are None.

    With unverified weights, the metrics have other names.

    Args:
      originals: statistics of the originals.
      extractor: the network.
      people: the person of each row.

    Raises:
      InputError: the originals are not those of these images.
    """
    known = [
      f'{name}{kind}'
      for name in _NAMES
      for kind in (KINDS if name != _SCORE else (WHOLE,))
    ]
    values: Metrics = dict.fromkeys(known)
    if extractor is None:
      return values, {}, dict.fromkeys(values, NO_WEIGHTS)
    skipped = {} if extractor.verified else dict.fromkeys(values, UNVERIFIED)
    intervals: Intervals = {}
    mine = self.statistics()
    for kind in KINDS:
      owners = people if kind == WHOLE else np.repeat(people, HOLES)
      found, bounds, reasons = _compared(
        originals[kind], mine[kind], owners, NOTHING[kind]
      )
      for name in found.keys() | reasons.keys():
        title = _title(name, kind, extractor.verified)
        values[title] = found.get(name)
        if name in reasons:
          skipped[title] = reasons[name]
        if name in bounds:
          intervals[title] = bounds[name]
    score = _title(_SCORE, WHOLE, extractor.verified)
    values |= dict.fromkeys((score, f'{score}_std'))
    if (count := len(self._logits)) < SPLITS:
      reason = TOO_FEW.format(SPLITS) if count else NOTHING[WHOLE]
      skipped |= dict.fromkeys((score, f'{score}_std'), reason)
    else:
      logits = shuffled(self._logits.ordered()[1])
      values[score], values[f'{score}_std'] = inception_score(logits)
    return values, intervals, skipped


def statistics_of(features: Rows) -> Statistics:
  """Returns the statistics of features that are all kept."""
  if not len(features):
    return Statistics(Gaussian.empty(inception.FEATURES), features)
  _, vectors = features.ordered()
  everything = np.ones(len(vectors), bool)
  return Statistics(Gaussian.from_values(vectors, everything), features)


def _title(name: str, kind: str, verified: bool) -> str:
  """Returns the name of a metric in results.json."""
  name, deviation, _ = name.partition('_std')
  if verified:
    return f'{name}{kind}{deviation}'
  name = _UNVERIFIED_NAMES.get(name, name)
  return f'{name}{kind}_unverified{deviation}'


def _compared(
  originals: Statistics,
  results: Statistics,
  owners: Int[np.ndarray, ' n'],
  nothing: str,
) -> tuple[Metrics, Intervals, dict[str, str]]:
  """Returns metrics of features, intervals, and why metrics are None.

  Args:
    originals: statistics of the originals.
    results: statistics of their results.
    owners: the person of each row.
    nothing: why there may be no features.
  """
  theirs, ours = originals.gaussian, results.gaussian
  of_features = (_KID, *_SEPARATION, *_COVERAGE)
  if min(ours.count, theirs.count) < 2:
    reason = TOO_FEW.format(2) if ours.count else nothing
    return {}, {}, dict.fromkeys((_FID, *of_features), reason)
  fid = frechet_distance(theirs, ours)
  if originals.features is None or results.features is None:
    reason = TOO_MANY.format(KEPT)
    return {_FID: fid}, {}, dict.fromkeys(of_features, reason)
  places, real = originals.features.ordered()
  rows, made = results.features.ordered()
  if not np.array_equal(rows, places):
    raise InputError(OTHERS)
  found: Metrics = {_FID: fid}
  intervals: Intervals = {}
  reasons: dict[str, str] = {}
  target = frechet_sampling.Target(theirs)
  spread = frechet_sampling.deviation(target, made, owners[rows])
  if spread is not None:
    reach = frechet_sampling.DEVIATIONS * spread
    intervals[_FID] = [fid - reach, fid + reach]
  for names, least, compare in (
    ((_KID, f'{_KID}_std'), 4, kernel_distance),
    (_SEPARATION, SEPARABLE + 1, discriminative_scores),
    (_COVERAGE, neighbors.NEIGHBORS + 1, precision_and_recall),
  ):
    if len(real) < least:
      reasons |= dict.fromkeys(names, TOO_FEW.format(f'{least:,}'))
    else:
      found |= dict(zip(names, compare(real, made), strict=True))
  return found, intervals, reasons
