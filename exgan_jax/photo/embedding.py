"""The network that tells people apart: the user's, or dlib's."""

from __future__ import annotations

import os
import pathlib
from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8

from exgan_jax.face_records.embedding import (
  TEMPLATE,
  OnnxEmbedding,
  placed,
  unit,
)
from exgan_jax.photo import dlib_network

# dlib's network expects the face larger in its picture than ArcFace's do.
_DLIB_TEMPLATE = (TEMPLATE - (6, 22)) * np.float32(dlib_network.SIDE / 98)


class Embedding(Protocol):
  """Takes a picture, and the eyes and the mouth in it, to a unit vector.

  Attributes:
    same_person: border of the cosine of two vectors: more means one person.
  """

  same_person: float

  def __call__(
    self, image: UInt8[np.ndarray, 'h w 3'], points: Float[np.ndarray, '3 2']
  ) -> Float[np.ndarray, ' n']: ...


def load(path: str | os.PathLike | None = None) -> Embedding | None:
  """Loads an ONNX file, or dlib's network if its package is installed.

  Raises:
    InputError: the file cannot be used.
  """
  if path is not None:
    return OnnxEmbedding(path)
  found = dlib_network.find()
  return None if found is None else DlibEmbedding(found)


class DlibEmbedding:
  """dlib's face recognition network.

  Its border lets 0.3 % of 413,269 pairs of strangers pass, and stops 4 % of
  1,236 pairs of pictures of one person (Labeled Faces in the Wild).

  Args:
    path: of dlib's file.

  Raises:
    InputError: it is not the published file.
  """

  same_person = 0.92

  def __init__(self, path: pathlib.Path):
    self._network = dlib_network.Network(path)

  def __call__(
    self, image: UInt8[np.ndarray, 'h w 3'], points: Float[np.ndarray, '3 2']
  ) -> Float[np.ndarray, ' 128']:
    face = placed(image, points, _DLIB_TEMPLATE, dlib_network.SIDE)
    return unit(self._network(face))
