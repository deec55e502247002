"""Applies a trained model to one face in a photo.

A model that paints from scratch fills a small square, which is enlarged and
blended into the photo. The transfer model predicts how to move and relight the
reference photo's own pixels, at the resolution of the photo.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Protocol

import cv2
import jax
import numpy as np

from exgan_jax.config import Config
from exgan_jax.face_records import alignment
from exgan_jax.models.networks import Model
from exgan_jax.models.paint import make_fields_step, make_paint_step
from exgan_jax.models.transfer import CELL, Fields
from exgan_jax.photo import blending, faces, transplant
from exgan_jax.photo.faces import AlignedFace
from exgan_jax.photo.photograph import Photograph
from exgan_jax.photo.transplant import FrameFields
from exgan_jax.runtime import compilation
from exgan_jax.training import export

# Sizes of the hole around an eye, per side of the square, for models that paint
# from scratch: the lids with what their shadow reaches, and little of the brow.
# In training they vary around this.
BOX = (0.26, 0.21)

Eyes = tuple[bool, bool]


class Painter(Protocol):
  """Paints the eyes of one face after those of another."""

  config: Config

  def __call__(
    self,
    photograph: Photograph,
    face: AlignedFace,
    reference: AlignedFace,
    eyes: Eyes = (True, True),
  ) -> Photograph:
    """Paints; the first call compiles.

    Args:
      photograph: the photo that the face was cut from.
      face: the face to paint.
      reference: the face to take the eyes from.
      eyes: which eyes to paint: left, right (as the viewer sees them).

    Returns:
      The photograph; what is outside the holes is unchanged, bit for bit.
    """


def restore(
  workdir: str | os.PathLike | None = None, step: int | None = None
) -> Painter:
  """Reads a model as `export.restore` does, and raises what it raises."""
  return make_painter(*export.restore(workdir, step))


def make_painter(config: Config, model: Model) -> Painter:
  """The painter of a model."""
  kind = TransferPainter if config.preset == 'transfer' else ScratchPainter
  return kind(config, model)


class ScratchPainter:
  """Paints with a model that generates all pixels itself."""

  def __init__(self, config: Config, model: Model):
    self.config = config
    self._model = model
    self._paint = _jit(make_paint_step(config))

  def __call__(
    self,
    photograph: Photograph,
    face: AlignedFace,
    reference: AlignedFace,
    eyes: Eyes = (True, True),
  ) -> Photograph:
    batch, matrix = _batch(self.config.resolution, face, reference)
    batch['boxes'] = batch['boxes'] * np.array(eyes, np.float32)[None, :, None]
    painted = np.asarray(self._paint(self._model, batch)[0])
    patch = blending.patch_of(
      painted, batch['eyes'][0], batch['boxes'][0], matrix, photograph.size
    )
    if patch is None:
      return photograph
    colors = photograph.from_srgb(patch.colors)
    return photograph.blended(patch.top, patch.left, colors, patch.opacity)


class TransferPainter:
  """Paints with the reference photograph's own pixels."""

  def __init__(self, config: Config, model: Model):
    self.config = config
    self._model = model
    self._fields = _jit(make_fields_step(config))

  def __call__(
    self,
    photograph: Photograph,
    face: AlignedFace,
    reference: AlignedFace,
    eyes: Eyes = (True, True),
  ) -> Photograph:
    batch, matrix = _batch(self.config.resolution, face, reference)
    corners, reference_corners = transplant.corners_of(face, reference)
    trusted = transplant.shows_eyes(photograph, corners)
    batch |= {
      'trusted': np.array([trusted], np.float32),
      'misplaced': np.zeros((1, 4, 2), np.float32),
      'lids': np.array([transplant.HALF_AXES], np.float32),
      'painted': np.array([eyes]),
    }
    fields, top = jax.device_get(self._fields(self._model, batch))
    if trusted and not faces.is_open(face.face):
      # The network infers from brows and cheeks where the eyes belong, and a
      # blink moves those: the corners know better.
      fields = dataclasses.replace(fields, flow=np.zeros_like(fields.flow))
    matrix[1, 2] -= top[0]
    return transplant.transplant(
      photograph,
      reference.around,
      corners,
      reference_corners - reference.origin,
      eyes,
      _in_frame(fields, matrix, corners),
    )


def _jit(function: Any) -> Any:
  return jax.jit(
    function,
    compiler_options=compilation.options(jax.local_devices()[0].platform),
  )


def _batch(
  resolution: int, face: AlignedFace, reference: AlignedFace
) -> tuple[dict[str, np.ndarray], np.ndarray]:
  """A batch of one, and the matrix from the photograph's pixels to it."""
  square, eyes, matrix = face.at(resolution)
  eyes = faces.opened_eyes(face.face, eyes)
  shown, shown_eyes, shown_matrix = reference.at(resolution)
  boxes = np.tile(np.array(BOX, np.float32) * np.float32(resolution), (2, 1))
  batch = {
    'image': square, 'eyes': eyes, 'boxes': boxes,
    'corners': alignment.corners_in(face.face, matrix),
    'reference': shown, 'reference_eyes': shown_eyes,
    'reference_corners': alignment.corners_in(reference.face, shown_matrix),
    'reference_boxes': boxes, 'valid': np.True_,
  }  # fmt: skip
  return {name: np.asarray(x)[None] for name, x in batch.items()}, matrix


def _in_frame(
  fields: Fields, matrix: np.ndarray, corners: np.ndarray
) -> FrameFields:
  """The fields of one picture where `transplant` wants them.

  Args:
    fields: of a batch of one.
    matrix: from the photograph's pixels to the band's.
    corners: of the photograph's eyes, in its pixels.
  """
  back = cv2.invertAffineTransform(transplant.frame_matrix(corners))
  to_band = np.vstack([matrix, [0, 0, 1]]) @ np.vstack([back, [0, 0, 1]])
  places = transplant.applied(to_band[:2], transplant.frame_grid())

  def found(field: jax.Array, cell: int) -> np.ndarray:
    at = (places - (cell - 1) / 2) / cell
    sampled = cv2.remap(
      np.asarray(field[0]),
      at.astype(np.float32),
      None,
      cv2.INTER_LINEAR,
      borderMode=cv2.BORDER_REPLICATE,
    )
    return sampled.reshape(*places.shape[:2], -1)

  to_frame = np.linalg.inv(to_band[:2, :2]).astype(np.float32)
  return FrameFields(
    flow=found(fields.flow, CELL) @ to_frame.T,
    # Pictures in [-1, 1] have twice the contrast of those in [0, 1].
    shading=(
      found(fields.brightness, 2 * CELL) + found(fields.colour, 4 * CELL)
    )
    / 2,
    contrast=found(fields.contrast, 2 * CELL),
    blend=found(fields.blend, 1),
    paint=found(fields.paint, 1) / 2,
  )
