"""A trained generator, compiled once, that paints one face at a time."""

from __future__ import annotations

import dataclasses
import os

import jax
import numpy as np

from exgan_jax import blending, compilation, exported, faces, sheet
from exgan_jax.config import Config
from exgan_jax.embedding import CodeEmbedding
from exgan_jax.faces import AlignedFace
from exgan_jax.photograph import Photograph
from exgan_jax.state import Model
from exgan_jax.train_step import make_paint_step
from tfds_celeb_id import alignment

# Sizes of the hole around an eye, per side of the square: the lids with what
# their shadow reaches, and little of the brow. In training they vary around
# this, by and large.
BOX = (0.26, 0.21)


@dataclasses.dataclass(frozen=True)
class Painted:
  """A square with painted eyes, and where it belongs.

  Attributes:
    square: float32 [r, r, 3] in [0, 1], sRGB; what was not painted is as it
      was.
    original: likewise, before.
    eyes: float32 [2, 2], centres as (x, y) in pixels of the square.
    boxes: float32 [2, 2], sizes of the holes as (w, h).
    matrix: float64 [2, 3], from the photograph's pixels to the square's.
  """

  square: np.ndarray
  original: np.ndarray
  eyes: np.ndarray
  boxes: np.ndarray
  matrix: np.ndarray


class Painter:
  """Paints the eyes of one face after those of another.

  Args:
    config: of the run.
    model: its weights.
  """

  def __init__(self, config: Config, model: Model):
    self.config = config
    self._model = model
    self._paint = jax.jit(
      make_paint_step(config),
      compiler_options=compilation.options(jax.local_devices()[0].platform),
    )

  @classmethod
  def restore(
    cls, workdir: str | os.PathLike | None = None, step: int | None = None
  ) -> Painter:
    """Reads a model as `exported.restore` does, and raises what it raises."""
    return cls(*exported.restore(workdir, step))

  def code_embedding(self) -> CodeEmbedding | None:
    """What tells eyes apart, where the model has it."""
    if self.config.exemplar != 'code':
      return None
    return CodeEmbedding(self.config, self._model.encoder)

  def __call__(self, face: AlignedFace, reference: AlignedFace) -> Painted:
    """Paints; the first call compiles."""
    resolution = self.config.resolution
    square, eyes, matrix = face.at(resolution)
    eyes = faces.opened_eyes(face.face, eyes)
    shown, shown_eyes, shown_matrix = reference.at(resolution)
    boxes = np.tile(np.float32(BOX) * np.float32(resolution), (2, 1))
    batch = {
      'image': square, 'eyes': eyes, 'boxes': boxes,
      'corners': alignment.corners_in(face.face, matrix),
      'reference': shown, 'reference_eyes': shown_eyes,
      'reference_corners': alignment.corners_in(reference.face, shown_matrix),
      'reference_boxes': boxes, 'valid': np.True_,
    }  # fmt: skip
    painted = self._paint(
      self._model, {name: np.asarray(x)[None] for name, x in batch.items()}
    )
    original = square.astype(np.float32) / 255
    painted = np.asarray(painted[0])
    return Painted(painted, original, eyes, boxes, matrix)


def lay_over(
  photograph: Photograph, painted: Painted, seamless: bool = False
) -> Photograph:
  """Returns the photograph with the painted eyes in it.

  Args:
    photograph: that the face was cut out of.
    painted: what to put back.
    seamless: whether to shift the colours of the holes to those around them.
  """
  square = painted.square
  if seamless:
    places = {'eyes': painted.eyes[None], 'boxes': painted.boxes[None]}
    mask = sheet.mask_of({'image': square[None], **places})[0, ..., 0]
    square = blending.match_edges(square, painted.original, mask)
  patch = blending.patch_of(
    square.astype(np.float32),
    painted.eyes,
    painted.boxes,
    painted.matrix,
    photograph.size,
  )
  if patch is None:
    return photograph
  colours = photograph.from_srgb(patch.colours)
  return photograph.blended(patch.top, patch.left, colours, patch.opacity)
