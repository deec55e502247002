"""One pass over the images of a split: in-paint, compare, score.

Every image is in-painted twice, with a reference of the same person and with
one of a stranger, and rounded to 8 bits on the device, as a saved image would
be. Every process gets the scores of the whole batch, along with its rows.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Mapping

import jax
import numpy as np
from jax.sharding import Mesh
from PIL import Image

from exgan_jax import contact_sheet
from exgan_jax.config import Config
from exgan_jax.data.eval_batches import EvaluationBatch, Listing
from exgan_jax.evaluation import baselines, metrics
from exgan_jax.evaluation.collect import (
  Networks,
  Scores,
  score_batch,
  score_swapped,
)
from exgan_jax.evaluation.faces import IDENTITY, Faces
from exgan_jax.evaluation.gallery import Gallery
from exgan_jax.evaluation.inception_features import (
  Distribution,
  Extractor,
  Originals,
)
from exgan_jax.evaluation.results import Intervals, Metrics
from exgan_jax.models import lpips, masks
from exgan_jax.models.inputs import to_uint8
from exgan_jax.models.networks import Model, Params
from exgan_jax.models.paint import make_paint_step
from exgan_jax.runtime import sharding

GALLERY_ROWS = 8
MODEL, ORIGINAL = 'model', 'original'


@dataclasses.dataclass(frozen=True)
class Found:
  """Everything one pass over a split finds.

  Attributes:
    metrics: per method, `MODEL` first, then the baselines.
    skipped: why a metric is None.
    gallery: some images of the first batch.
    intervals: per method.
    scores: the values of each image, per method.
    originals: Inception statistics of the originals.
  """

  metrics: dict[str, Metrics]
  skipped: dict[str, str]
  gallery: Gallery
  intervals: dict[str, Intervals] = dataclasses.field(default_factory=dict)
  scores: dict[str, Scores] = dataclasses.field(default_factory=dict)
  originals: Originals | None = None


class PainterEvaluation:
  """Compiled once for all checkpoints of a run.

  Args:
    config: configuration of the run.
    mesh: mesh of all devices.
    coder: configuration of the compressor that measures code distances.
    extractor: the Inception network, if there are weights.
    with_baselines: whether to run the baselines too.
    alexnet: weights of LPIPS, if there are any.
    faces: finds and recognizes faces, if there are networks for it.
  """

  def __init__(
    self,
    config: Config,
    mesh: Mesh,
    coder: Config,
    extractor: Extractor | None,
    *,
    with_baselines: bool,
    alexnet: lpips.Weights | None = None,
    faces: Faces | None = None,
  ):
    self._config, self._mesh, self._extractor = config, mesh, extractor
    self._alexnet, self._faces = alexnet, faces
    self._methods = baselines.BASELINES if with_baselines else {}
    self._paint = jax.jit(sharding.one_by_one(_make_painters(config), mesh))
    self._score, self._score_swapped = (
      jax.jit(
        sharding.one_by_one(functools.partial(score, coder), mesh),
        out_shardings=sharding.replicated(mesh),
      )
      for score in (score_batch, score_swapped)
    )

  def __call__(
    self,
    model: Model,
    encoder: Params | None,
    batches: Iterable[EvaluationBatch],
    listing: Listing,
    *,
    originals: Originals | None = None,
    folder: pathlib.Path | None = None,
  ) -> Found:
    """In-paints and scores all images.

    Args:
      model: model to evaluate.
      encoder: encoder of the compressor that measures code distances.
      batches: this process's part of the batches.
      listing: all images of the split.
      originals: Inception statistics of the originals, if already known.
      folder: folder to write every image to as PNG.

    Raises:
      OSError: an image cannot be written.
    """
    names = (MODEL, *self._methods)
    scores = {name: Scores() for name in names}
    seen = {
      name: Distribution(len(listing.filenames)) for name in (ORIGINAL, *names)
    }
    networks = Networks(encoder, self._alexnet)
    gallery = None
    send = functools.partial(sharding.to_device, mesh=self._mesh)
    for batch in batches:
      mask = masks.mask_of(batch.inputs)
      boxes, there = masks.hole_boxes(mask)
      painted, swapped = self._paint(
        model, (send(batch.inputs), send(batch.stranger))
      )
      # The baselines run on the host while the device paints.
      others = {
        name: method(batch.shown, mask[..., 0])
        for name, method in self._methods.items()
      }
      shared = send(
        {
          'truth': batch.truth,
          'mask': mask,
          'boxes': boxes,
          'there': there,
          'eyes': batch.inputs['eyes'],
          'rows': batch.rows,
          'has_truth': batch.has_truth,
          'has_stranger': batch.has_stranger,
          **self._places(batch),
        }
      )
      images = {MODEL: painted} | send(others)
      looks = self._looks(batch, {MODEL: sharding.local_part(painted)} | others)
      of_swapped, values = jax.device_get(
        (
          self._score_swapped(networks, shared | {'painted': swapped}),
          {
            name: self._score(
              networks, shared | {'painted': image} | send(looks[name])
            )
            for name, image in images.items()
          },
        )
      )
      of_model = values[MODEL]
      rows, has_truth = of_model['rows'], of_model['has_truth']
      both = has_truth & of_model['has_stranger']
      scores[MODEL].add_swapped(of_swapped, rows, both)
      for name in names:
        scores[name].add(values[name], rows, has_truth)
      if self._extractor is not None:
        images[ORIGINAL] = shared['truth']
        for name in names if originals else (ORIGINAL, *names):
          features = self._extractor.apply(images[name], shared['boxes'])
          seen[name].add(features, rows, has_truth, of_model['there'])
      if gallery is None or folder is not None:
        local = [sharding.local_part(x) for x in (painted, swapped)]
        columns = _columns(batch, mask, *local) | others
        gallery = gallery or gallery_of(batch, columns, listing)
        if folder is not None:
          _write_images(folder, batch, columns, mask)
    assert gallery is not None, 'a split has at least one image'
    originals = originals or seen[ORIGINAL].statistics()
    variant = metrics.ms_ssim_variant(self._config.resolution)
    for name in names:
      scores[name].finish(listing.people)
    skipped = scores[MODEL].skipped(self._given(encoder))
    found, intervals = {}, {}
    for name in names:
      of_network, spread, reasons = seen[name].metrics(
        originals, self._extractor, listing.people
      )
      found[name] = scores[name].compute(variant) | of_network
      intervals[name] = scores[name].intervals(listing.people) | spread
      skipped |= reasons
    return Found(found, skipped, gallery, intervals, scores, originals)

  def _places(self, batch: EvaluationBatch) -> dict[str, np.ndarray]:
    """Returns the weights of pixels of irises and lids.

    The records' irises are used where they are known.
    """
    irises, places = batch.irises, {}
    if self._faces:
      found = self._faces.places(batch.truth, batch.has_truth)
      irises = np.where(np.isnan(irises), found['irises'], irises)
      places['lids'] = found['lids']
    side = self._config.resolution
    return places | {'irises': metrics.iris_weights(irises, side, side)}

  def _looks(
    self, batch: EvaluationBatch, images: Mapping[str, np.ndarray]
  ) -> dict[str, dict[str, np.ndarray]]:
    """Returns what is measured of faces, by method."""
    if not self._faces:
      return {name: {} for name in images}
    others = {
      IDENTITY[1]: batch.shown['reference'],
      IDENTITY[2]: batch.stranger['reference'],
    }
    looks = {}
    for name, image in images.items():
      found = self._faces.compare(batch.truth, image, batch.has_truth, others)
      if (control := found.get(IDENTITY[2])) is not None:
        control[~batch.has_stranger] = np.nan
      looks[name] = found
    return looks

  def _given(self, encoder: Params | None) -> set[str]:
    """Returns which of `measures.NEEDS` there are."""
    given = {
      'lpips': self._alexnet,
      'compressor': encoder,
      'landmarker': self._faces,
      'irises': self._faces,
      'embedding': self._faces and self._faces.recognizes,
    }
    return {'masks', *(name for name, one in given.items() if one)}


def _make_painters(config: Config) -> Callable:
  paint = make_paint_step(config)

  def painters(
    model: Model, batch: tuple[dict[str, jax.Array], dict[str, jax.Array]]
  ) -> tuple[jax.Array, jax.Array]:
    inputs, stranger = batch
    painted = to_uint8(paint(model, inputs))
    if config.exemplar == 'none':
      return painted, painted
    return painted, to_uint8(paint(model, inputs | stranger))

  return painters


def _columns(
  batch: EvaluationBatch,
  mask: np.ndarray,
  painted: np.ndarray,
  swapped: np.ndarray,
) -> dict[str, np.ndarray]:
  shown = batch.shown
  columns = {
    'reference': shown['reference'],
    'input': masks.hole(shown['image'], mask),
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
  """Returns up to `GALLERY_ROWS` images of a batch, of many people."""
  # The first image of each person, then the second of each, and so on.
  valid = np.flatnonzero(batch.inputs['valid'])
  people: collections.Counter[str] = collections.Counter()
  turns = []
  for row in batch.rows[valid]:
    identity = listing.identities[row]
    turns.append(people[identity])
    people[identity] += 1
  chosen = valid[np.argsort(turns, kind='stable')[:GALLERY_ROWS]]
  places = batch.shown | {'stranger_eyes': batch.stranger['reference_eyes']}
  return Gallery(
    [listing.filenames[row] for row in batch.rows[chosen]],
    {name: images[chosen] for name, images in columns.items()},
    {name: places[name][chosen] for name in contact_sheet.PLACES},
  )


def _write_images(
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
