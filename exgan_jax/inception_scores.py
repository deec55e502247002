"""FID and the Inception Score of a method's pictures, batch by batch."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, UInt8

from exgan_jax import inception_weights, sharding
from exgan_jax.metrics.frechet import Gaussian, frechet_distance
from exgan_jax.metrics.inception_score import SPLITS, ClassScores
from exgan_jax.models import inception
from tfds_celeb_id import InputError

NO_WEIGHTS = 'needs the Inception weights (--inception)'
UNVERIFIED = 'the Inception weights are not the published ones'
TOO_FEW = 'takes at least {} pictures'

_FID, _SCORE = 'fid', 'inception_score'

Found = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Extractor:
  """The Inception network with weights.

  Attributes:
    apply: from pictures to features and logits.
    verified: whether the weights are those that FID is defined by.
    sha256: of the weights.
  """

  apply: Callable[
    [UInt8[Array, 'b h w 3']], tuple[Float[Array, 'b f'], Float[Array, 'b c']]
  ]
  verified: bool
  sha256: str

  def __call__(self, pictures: UInt8[np.ndarray, 'b h w 3']) -> Found:
    """Returns features and logits on the host."""
    return jax.device_get(self.apply(pictures))


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
  apply = jax.jit(
    lambda state, pictures: nnx.merge(structure, state)(pictures),
    out_shardings=sharding.batched(mesh),
  )
  return lambda pictures: apply(
    state, sharding.to_device({'pictures': pictures}, mesh)['pictures']
  )


class Distribution:
  """What the network says of a set of pictures."""

  def __init__(self):
    self._gaussian = Gaussian.empty(inception.FEATURES)
    self._classes = ClassScores()

  def add(
    self, found: Found, counted: Bool[np.ndarray, ' b'], names: list[str]
  ) -> None:
    """Adds the counted pictures of a batch, each under its own name."""
    features, logits = found
    self._gaussian = self._gaussian.merge(
      Gaussian.from_values(features, counted)
    )
    self._classes = self._classes.merge(
      ClassScores.from_values(logits, counted, names)
    )

  def metrics(
    self, originals: Distribution, extractor: Extractor | None
  ) -> tuple[dict[str, float | None], dict[str, str]]:
    """Returns the metrics against the original pictures, and why some are None.

    With unverified weights they have names that cannot be mistaken.
    """
    values, skipped = {'fid': None, 'inception_score': None}, {}
    if extractor is None:
      return values, dict.fromkeys(values, NO_WEIGHTS)
    fid, score, deviation = _FID, _SCORE, f'{_SCORE}_std'
    if not extractor.verified:
      skipped = {name: UNVERIFIED for name in values}
      fid, score = 'frechet_distance_unverified', f'{_SCORE}_unverified'
      deviation = f'{score}_std'
    values |= dict.fromkeys((fid, score, deviation))
    if self._gaussian.count > 1:
      values[fid] = frechet_distance(originals._gaussian, self._gaussian)
    else:
      skipped[fid] = TOO_FEW.format(2)
    if self._gaussian.count >= SPLITS:
      values[score], values[deviation] = self._classes.compute()
    else:
      skipped |= dict.fromkeys((score, deviation), TOO_FEW.format(SPLITS))
    return values, skipped
