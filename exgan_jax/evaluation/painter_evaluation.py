"""One pass over the pictures of an evaluation: painted, compared, looked at.

Every picture is painted once after the person and once after a stranger, and
rounded to 8 bits on the device, as a saved picture is. What is found of a batch
comes back to every process, with the pictures' rows beside it.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from jax.sharding import Mesh
from PIL import Image

from exgan_jax import contact_sheet
from exgan_jax.config import Config
from exgan_jax.data.eval_batches import EvaluationBatch, Listing
from exgan_jax.evaluation import baselines, metrics
from exgan_jax.evaluation.collect import Scores, score_batch
from exgan_jax.evaluation.gallery import Gallery
from exgan_jax.evaluation.inception_features import Distribution, Extractor
from exgan_jax.models import masks
from exgan_jax.models.inputs import to_uint8
from exgan_jax.models.networks import Model, Params
from exgan_jax.models.paint import make_paint_step
from exgan_jax.runtime import sharding

GALLERY_ROWS = 8
MODEL, SWAPPED, ORIGINAL = 'model', 'swapped', 'original'


@dataclasses.dataclass(frozen=True)
class Found:
  """What a pass found.

  Attributes:
    scores: of the model and of each baseline.
    seen: what the Inception network said of their pictures, and of the
      originals where it was asked.
    gallery: some pictures of the first batch.
  """

  scores: dict[str, Scores]
  seen: dict[str, Distribution]
  gallery: Gallery


class PainterEvaluation:
  """Compiled once for all checkpoints of a run.

  Args:
    config: of the run.
    mesh: of all devices.
    coder: configuration of the compressor whose codes are compared.
    extractor: the Inception network, if there are weights.
    with_baselines: whether to paint by the baselines, too.
  """

  def __init__(
    self,
    config: Config,
    mesh: Mesh,
    coder: Config,
    extractor: Extractor | None,
    *,
    with_baselines: bool,
  ):
    self._mesh, self._extractor = mesh, extractor
    self._methods = baselines.BASELINES if with_baselines else {}
    self._paint = jax.jit(sharding.one_by_one(_make_painters(config), mesh))
    score = functools.partial(score_batch, coder)
    self._score = jax.jit(
      sharding.one_by_one(score, mesh),
      out_shardings=sharding.replicated(mesh),
    )

  def __call__(
    self,
    model: Model,
    encoder: Params | None,
    batches: Iterator[EvaluationBatch],
    listing: Listing,
    *,
    look_at_originals: bool,
    folder: pathlib.Path | None = None,
  ) -> Found:
    """Paints and scores all pictures.

    Args:
      model: what a checkpoint holds.
      encoder: of the compressor whose codes are compared, or None.
      batches: this process's part of them.
      listing: of all pictures.
      look_at_originals: whether the network shall see the originals.
      folder: where to write every picture as PNG, if anywhere.

    Raises:
      OSError: pictures cannot be written.
    """
    names = (MODEL, *self._methods)
    shown = (ORIGINAL, *names) if look_at_originals else names
    scores = {name: Scores() for name in names}
    number = len(listing.filenames)
    seen = {
      name: Distribution(number, is_original=name == ORIGINAL) for name in shown
    }
    gallery = None
    for batch in batches:
      mask = masks.mask_of(batch.inputs)
      boxes, has_hole = masks.hole_boxes(mask)
      send = functools.partial(sharding.to_device, mesh=self._mesh)
      stranger = send(batch.stranger)
      painted, swapped = self._paint(model, (send(batch.inputs), stranger))
      # The baselines work on the host while the device paints.
      others = {
        name: method(batch.shown, mask[..., 0])
        for name, method in self._methods.items()
      }
      known = send(_known(batch, mask, has_hole))
      pictures = {MODEL: painted, SWAPPED: swapped} | send(others)
      found = jax.device_get(
        {
          name: self._score(encoder, known | {'painted': picture})
          for name, picture in pictures.items()
        }
      )
      rows, has_truth = found[MODEL]['rows'], found[MODEL]['has_truth']
      both = has_truth & found[MODEL]['has_stranger']
      scores[MODEL].add(found.pop(SWAPPED), rows, both, '_swapped')
      for name, values in found.items():
        scores[name].add(values, rows, has_truth)
      if self._extractor is not None:
        pictures[ORIGINAL] = known['truth']
        boxes = send({'boxes': boxes})['boxes']
        there = found[MODEL]['has_hole_at']
        for name in shown:
          features = self._extractor.apply(pictures[name], boxes)
          seen[name].add(features, rows, has_truth, there)
      if gallery is None or folder is not None:
        local = [sharding.local_part(x) for x in (painted, swapped)]
        columns = _columns(batch, mask, *local) | others
        gallery = gallery or gallery_of(batch, columns, listing)
        if folder is not None:
          _write_pictures(folder, batch, columns, mask)
    return Found(scores, seen, gallery)


def _make_painters(config: Config) -> Callable:
  paint = make_paint_step(config)

  def painters(
    model: Model,
    batch: tuple[Mapping[str, jax.Array], Mapping[str, jax.Array]],
  ) -> tuple[jax.Array, jax.Array]:
    inputs, stranger = batch
    painted = to_uint8(paint(model, inputs))
    if config.exemplar == 'none':
      return painted, painted
    return painted, to_uint8(paint(model, {**inputs, **stranger}))

  return painters


def _known(
  batch: EvaluationBatch, mask: np.ndarray, has_hole: np.ndarray
) -> dict[str, np.ndarray]:
  """What is known of the pictures; much of it only for the other processes."""
  return {
    'truth': batch.truth,
    'mask': mask,
    'eyes': batch.inputs['eyes'],
    'irises': metrics.iris_weights(batch.irises, mask.shape[1]),
    'rows': batch.rows,
    'has_truth': batch.has_truth,
    'has_stranger': batch.has_stranger,
    'has_hole_at': has_hole,
  }


def _columns(
  batch: EvaluationBatch,
  mask: np.ndarray,
  painted: np.ndarray,
  swapped: np.ndarray,
) -> dict[str, np.ndarray]:
  first = batch.shown
  columns = {
    'reference': first['reference'],
    'input': masks.hole(first['image'], mask),
    'result': painted,
  }
  if batch.has_truth.any():
    columns[ORIGINAL] = batch.truth
  columns['stranger'] = batch.stranger['reference']
  columns['after stranger'] = swapped
  return columns


def gallery_of(
  batch: EvaluationBatch, columns: dict[str, np.ndarray], listing: Listing
) -> Gallery:
  """Returns some pictures of a batch."""
  # As many people as there are: the first picture of each, then the second.
  valid = np.flatnonzero(batch.inputs['valid'])
  people = collections.Counter()
  turns = []
  for i in valid:
    identity = listing.identities[batch.rows[i]]
    turns.append(people[identity])
    people[identity] += 1
  chosen = valid[np.argsort(turns, kind='stable')[:GALLERY_ROWS]]
  places = batch.shown | {'stranger_eyes': batch.stranger['reference_eyes']}
  return Gallery(
    [listing.filenames[row] for row in batch.rows[chosen]],
    {name: images[chosen] for name, images in columns.items()},
    {name: places[name][chosen] for name in contact_sheet.PLACES},
  )


def _write_pictures(
  folder: pathlib.Path,
  batch: EvaluationBatch,
  columns: dict[str, np.ndarray],
  mask: np.ndarray,
) -> None:
  marks = {'mask': np.repeat(mask, 3, axis=3).astype(np.uint8) * 255}
  for name, images in (columns | marks).items():
    where = folder / name.replace(' ', '_')
    where.mkdir(parents=True, exist_ok=True)
    for i in np.flatnonzero(batch.inputs['valid']):
      path = where / f'{batch.rows[i]:06d}.png'
      Image.fromarray(images[i]).save(path, format='PNG')
