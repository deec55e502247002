"""Face embeddings: vectors that are similar for pictures of one person."""

from __future__ import annotations

import os

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from exgan_jax import files
from exgan_jax.errors import InputError

# Where ArcFace's and SFace's networks expect the eyes and the middle of the
# mouth: in pictures of 112 px (Deng et al. 2019, "ArcFace").
_SIDE = 112
TEMPLATE = np.array(
  [[38.29, 51.70], [73.53, 51.50], [56.14, 92.29]], np.float32
)
_LARGEST_FILE = 2**30
# Layers that a network begins with if it normalizes its pictures itself, as
# SFace does; others, as ArcFace's, take [-1, 1].
_NORMALIZING = ('NaryEltwise', 'Eltwise', 'Scale', 'Power')


class OnnxEmbedding:
  """A face recognition network in ONNX, as SFace and ArcFace come.

  SFace and ArcFace have their border between 0.3 and 0.4.

  Args:
    path: of the file. It takes RGB [1, 3, 112, 112], in [-1, 1] or in levels
      that it normalizes itself, and gives one vector.

  Raises:
    InputError: there is no such file, or it holds another network.
  """

  # Border of the cosine of two vectors: more means one person.
  same_person = 0.36

  def __init__(self, path: str | os.PathLike):
    self._path = path
    try:
      data = files.read_bytes(path, _LARGEST_FILE)
      self._network = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
      first = self._network.getLayer(
        self._network.getLayerId(self._network.getLayerNames()[0])
      )
      self._center = 0.0 if first.type in _NORMALIZING else 127.5
      self._vector(np.zeros((_SIDE, _SIDE, 3), np.uint8))
    except (cv2.error, IndexError) as error:
      raise InputError(
        f'{path} is not an ONNX network of 112 px faces'
      ) from error

  def __call__(
    self, image: UInt8[np.ndarray, 'h w 3'], points: Float[np.ndarray, '3 2']
  ) -> Float[np.ndarray, ' d']:
    """Returns a float32 vector of length one.

    Args:
      image: sRGB.
      points: x and y in pixels of the left eye, the right eye and the mouth.

    Raises:
      InputError: the points coincide.
    """
    return unit(self._vector(arcface_square(image, points)))

  def _vector(self, image: UInt8[np.ndarray, '112 112 3']) -> np.ndarray:
    scale = 1 / self._center if self._center else 1.0
    self._network.setInput(
      cv2.dnn.blobFromImage(image, scale, (_SIDE, _SIDE), (self._center,) * 3)
    )
    return np.asarray(self._network.forward(), np.float32).reshape(-1)


def arcface_square(
  image: UInt8[np.ndarray, 'h w 3'], points: Float[np.ndarray, '3 2']
) -> UInt8[np.ndarray, '112 112 3']:
  """The face where networks of ArcFace's kind expect it."""
  return placed(image, points, TEMPLATE, _SIDE)


def placed(
  image: UInt8[np.ndarray, 'h w 3'],
  points: Float[np.ndarray, '3 2'],
  template: Float[np.ndarray, '3 2'],
  side: int,
) -> UInt8[np.ndarray, 's s 3']:
  """The face with its eyes and its mouth at given points of a square.

  Raises:
    InputError: the points coincide.
  """
  matrix, _ = cv2.estimateAffinePartial2D(points.astype(np.float32), template)
  if matrix is None:
    raise InputError('a face without a shape')
  return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_AREA)


def unit(vector: np.ndarray) -> np.ndarray:
  """The vector with length one."""
  return vector / max(float(np.linalg.norm(vector)), 1e-12)
