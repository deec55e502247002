"""Evaluates a compressor: its reconstructions of eyes, and its codes."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from exgan_jax.config import Config
from exgan_jax.data.eval_batches import EvaluationBatch, Listing
from exgan_jax.evaluation import metrics
from exgan_jax.evaluation.inception_features import Originals
from exgan_jax.evaluation.metrics import Rows
from exgan_jax.evaluation.painter_evaluation import MODEL, Found, gallery_of
from exgan_jax.evaluation.results import Metrics
from exgan_jax.models import masks
from exgan_jax.models.inputs import eye_codes, to_float, to_uint8
from exgan_jax.models.networks import Model, Params
from exgan_jax.models.paint import make_paint_step
from exgan_jax.runtime import sharding

NO_IMAGES = 'a compressor in-paints no images'


class CompressorEvaluation:
  """Compiled once for all checkpoints of a run."""

  def __init__(self, config: Config, mesh: Mesh):
    self._mesh = mesh
    draw = make_paint_step(config)
    side = masks.eye_side(config.resolution)

    def judge(model, batch):
      inputs, rows = batch
      image, drawn = to_float(inputs['image']), draw(model, inputs)
      true, found = (
        masks.eye_crops(picture, inputs['eyes'], side)
        for picture in ((image + 1.0) / 2.0, drawn)
      )
      encoder = model.generator['encoder']
      return to_uint8(drawn), {
        'l1': jnp.mean(jnp.abs(true - found), axis=(1, 2, 3, 4)),
        'code': eye_codes(config, encoder, image, inputs['eyes']),
        'valid': inputs['valid'],
        'rows': rows,
      }

    where = sharding.batched(mesh), sharding.replicated(mesh)
    self._judge = jax.jit(sharding.one_by_one(judge, mesh), out_shardings=where)

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
    """Returns `l1_eyes` and `verification_auc`.

    Has the signature of `PainterEvaluation`, but uses only `model`, `batches`
    and `listing`.
    """
    errors, codes, gallery = Rows(), Rows(), None
    for batch in batches:
      sent = sharding.to_device(batch.inputs | {'rows': batch.rows}, self._mesh)
      rows = sent.pop('rows')
      drawn, values = self._judge(model, (sent, rows))
      values = jax.device_get(values)
      rows, valid = values['rows'], values['valid']
      errors = errors.merge(Rows.from_values(rows, values['l1'], valid))
      codes = codes.merge(Rows.from_values(rows, values['code'], valid))
      if gallery is None:
        columns = {
          'original': batch.inputs['image'],
          'drawn': sharding.local_part(drawn),
        }
        gallery = gallery_of(batch, columns, listing)
    assert gallery is not None, 'a split has at least one image'
    auc = metrics.verification_auc(codes.ordered()[1], listing.identities)
    found: Metrics = {'l1_eyes': errors.mean(), 'verification_auc': auc}
    skipped = dict.fromkeys(('fid', 'inception_score'), NO_IMAGES)
    return Found({MODEL: found | dict.fromkeys(skipped)}, skipped, gallery)
