"""FID and the Inception Score of a method's images, batch by batch.

Both are computed for whole images and for their holes alone: each hole, at
most two per image, is cut out and resized to the size of the network's input.
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
from exgan_jax.evaluation.results import Intervals, Metrics
from exgan_jax.runtime import sharding

NO_WEIGHTS = 'needs the Inception weights (--inception)'
UNVERIFIED = 'the Inception weights are not the published ones'
TOO_FEW = 'needs at least {} images'
TOO_MANY = 'features of more than {:,} images are not kept'

# Per image and hole, features take 8 kB and logits, which are always kept,
# 4 kB. The sums of features take 33 MB.
KEPT = 20_000
# Twice the smallest sample, so that the fitted line has several points.
ENOUGH_FOR_LIMIT = 2 * frechet_sampling.SMALLEST

HOLES = 2
WHOLE, HOLE = '', '_hole'
KINDS = (WHOLE, HOLE)
NOTHING = {
  WHOLE: 'no image has an original to compare with',
  HOLE: 'no image has a hole and an original',
}

Gaussians = Mapping[str, Gaussian]


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
    holes = jax.vmap(cut_out, in_axes=(None, 1), out_axes=1)(pictures, boxes)
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
  pictures: UInt8[Array, 'b h w 3'], boxes: Int[Array, 'b 4']
) -> Float[Array, 'b 299 299 3']:
  """Cuts a box out of each image and resizes it like `inception.resize`.

  Args:
    pictures: images to cut from.
    boxes: left, top, right and bottom edges in pixels.
  """

  def weights(low, high, side):
    # Weights of each pixel and its neighbor, clamped to the box.
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
  """Features and logits of a method's images, or of the originals.

  Args:
    number: maximum number of images.
    is_original: whether to keep only the `gaussians`.

  Attributes:
    gaussians: mean and covariance of the features of each kind.
  """

  def __init__(self, number: int, *, is_original: bool = False):
    self._scores = not is_original
    self._keeps = self._scores and number <= KEPT
    self.gaussians = {
      kind: Gaussian.empty(inception.FEATURES) for kind in KINDS
    }
    self._features = dict.fromkeys(KINDS, Rows())
    self._logits = dict.fromkeys(KINDS, Rows())

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
      features, logits = (
        np.asarray(x).reshape(-1, x.shape[-1]) for x in found[kind]
      )
      places, counts = places.reshape(-1), counts.reshape(-1)
      if not np.isfinite(features[counts]).all():
        raise InputError('the Inception weights give features of NaN or inf')
      self.gaussians[kind] = self.gaussians[kind].merge(
        Gaussian.from_values(features, counts)
      )
      for state, values, is_kept in (
        (self._logits, logits, self._scores),
        (self._features, features, self._keeps),
      ):
        if is_kept:
          new = Rows.from_values(places, values, counts)
          state[kind] = state[kind].merge(new)

  def metrics(
    self,
    originals: Gaussians,
    extractor: Extractor | None,
    people: Int[np.ndarray, ' n'],
  ) -> tuple[Metrics, Intervals, dict[str, str]]:
    """Returns the metrics, some intervals, and why metrics are None.

    With unverified weights, the metrics have other names.

    Args:
      originals: statistics of the originals.
      extractor: the network.
      people: the person of each row.
    """
    values: Metrics = {}
    for kind in KINDS:
      values |= {f'fid{kind}': None, f'inception_score{kind}': None}
    if extractor is None:
      return values, {}, dict.fromkeys(values, NO_WEIGHTS)
    intervals: Intervals = {}
    skipped = {} if extractor.verified else dict.fromkeys(values, UNVERIFIED)
    for kind in KINDS:
      distance, end = f'fid{kind}', ''
      if not extractor.verified:
        distance, end = f'frechet_distance{kind}', '_unverified'
      fid, limit = f'{distance}{end}', f'{distance}_infinity{end}'
      score = f'inception_score{kind}{end}'
      names = fid, limit, score, f'{score}_std'
      values |= dict.fromkeys(names)
      count = len(self._logits[kind])
      if count < SPLITS:
        reason = TOO_FEW.format(SPLITS) if count else NOTHING[kind]
        skipped |= dict.fromkeys(names[2:], reason)
      else:
        logits = shuffled(self._logits[kind].ordered()[1])
        values[score], values[f'{score}_std'] = inception_score(logits)
      ours, theirs = self.gaussians[kind], originals[kind]
      if min(ours.count, theirs.count) < 2:
        reason = TOO_FEW.format(2) if ours.count else NOTHING[kind]
        skipped |= dict.fromkeys(names[:2], reason)
        continue
      values[fid] = found = frechet_distance(theirs, ours)
      if not self._keeps:
        skipped[limit] = TOO_MANY.format(KEPT)
        continue
      target = frechet_sampling.Target(theirs)
      rows, vectors = self._features[kind].ordered()
      owners = people[rows if kind == WHOLE else rows // HOLES]
      spread = frechet_sampling.deviation(target, vectors, owners)
      if spread is not None:
        reach = frechet_sampling.DEVIATIONS * spread
        intervals[fid] = [found - reach, found + reach]
      if len(vectors) < ENOUGH_FOR_LIMIT:
        skipped[limit] = TOO_FEW.format(f'{ENOUGH_FOR_LIMIT:,}')
      else:
        values[limit] = frechet_sampling.limit(target, vectors)
    return values, intervals, skipped
