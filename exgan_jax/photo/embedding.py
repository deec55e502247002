"""Face embeddings: vectors that are similar for pictures of one person."""

from __future__ import annotations

import os
import pathlib
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from exgan_jax.errors import InputError
from exgan_jax.photo import dlib_network
from exgan_jax.photo.faces import AlignedFace

# Where ArcFace's and SFace's networks expect the eyes and the middle of the
# mouth: in pictures of 112 px (Deng et al. 2019, "ArcFace").
_SIDE = 112
_TEMPLATE = np.array(
  [[38.29, 51.70], [73.53, 51.50], [56.14, 92.29]], np.float32
)
# dlib's network expects the face larger in its picture.
_DLIB_TEMPLATE = (_TEMPLATE - (6, 22)) * np.float32(dlib_network.SIDE / 98)
_LARGEST_FILE = 2**30
# Layers that a network begins with if it normalises its pictures itself, as
# SFace does; others, as ArcFace's, take [-1, 1].
_NORMALISING = ('NaryEltwise', 'Eltwise', 'Scale', 'Power')


class Embedding(Protocol):
  """Takes a face to a vector of length one.

  Attributes:
    same_person: border of the cosine of two vectors: more means one person.
  """

  same_person: float

  def __call__(self, face: AlignedFace) -> Float[np.ndarray, ' n']: ...


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

  def __call__(self, face: AlignedFace) -> Float[np.ndarray, ' 128']:
    side = dlib_network.SIDE
    return _unit(self._network(_placed(face, _DLIB_TEMPLATE, side)))


class OnnxEmbedding:
  """A face recognition network in ONNX, as SFace and ArcFace come.

  SFace and ArcFace have their border between 0.3 and 0.4.

  Args:
    path: of the file. It takes RGB [1, 3, 112, 112], in [-1, 1] or in levels
      that it normalises itself, and gives one vector.

  Raises:
    InputError: there is no such file, or it holds another network.
  """

  same_person = 0.36

  def __init__(self, path: str | os.PathLike):
    try:
      if os.path.getsize(path) > _LARGEST_FILE:
        raise InputError(f'{path} is too large for a face embedding')
      self._network = cv2.dnn.readNetFromONNX(os.fspath(path))
      first = self._network.getLayer(
        self._network.getLayerId(self._network.getLayerNames()[0])
      )
      self._centre = 0.0 if first.type in _NORMALISING else 127.5
      self._vector(np.zeros((_SIDE, _SIDE, 3), np.uint8))
    except OSError as error:
      raise InputError(f'cannot read {path}: {error.strerror}') from error
    except (cv2.error, IndexError) as error:
      raise InputError(
        f'{path} is not an ONNX network of 112 px faces'
      ) from error

  def __call__(self, face: AlignedFace) -> Float[np.ndarray, ' n']:
    return _unit(self._vector(arcface_square(face)))

  def _vector(self, image: UInt8[np.ndarray, '112 112 3']) -> np.ndarray:
    scale = 1 / self._centre if self._centre else 1.0
    self._network.setInput(
      cv2.dnn.blobFromImage(image, scale, (_SIDE, _SIDE), (self._centre,) * 3)
    )
    return np.asarray(self._network.forward(), np.float32).reshape(-1)


def arcface_square(face: AlignedFace) -> UInt8[np.ndarray, '112 112 3']:
  """The face where networks of ArcFace's kind expect it."""
  return _placed(face, _TEMPLATE, _SIDE)


def _placed(
  face: AlignedFace, template: Float[np.ndarray, '3 2'], side: int
) -> UInt8[np.ndarray, 's s 3']:
  """The face with its eyes and its mouth at given points of a square."""
  points = np.array([*face.face.eyes, face.face.mouth])
  points = points @ face.matrix[:, :2].T + face.matrix[:, 2]
  matrix, _ = cv2.estimateAffinePartial2D(points.astype(np.float32), template)
  if matrix is None:
    raise InputError('a face without a shape')
  return cv2.warpAffine(face.square, matrix, (side, side), flags=cv2.INTER_AREA)


def _unit(vector: np.ndarray) -> np.ndarray:
  return vector / max(float(np.linalg.norm(vector)), 1e-12)
