"""One aligned picture as it is read back from a data set."""

import dataclasses
import math

import numpy as np
from google.protobuf.message import DecodeError
from jaxtyping import Float32
from tensorflow_datasets.proto import tf_example_pb2

from exgan_jax.errors import InputError

# Below this the eyes count as closed.
OPEN_THRESHOLD = 0.60

# Of what is read: larger ones would overflow further on.
_LARGEST_COORDINATE = 1e5

# Corners of the eyes, as (x, y), where they are not known.
UNKNOWN_CORNERS = np.full((4, 2), np.nan, np.float32)

UNKNOWN_CORNERS.flags.writeable = False

SPLITS = ('train', 'validation', 'test', 'closed')


@dataclasses.dataclass(frozen=True)
class Record:
  """One aligned picture as `parse` reads it back.

  Attributes:
    image: bytes of a JPEG, or plain pixels as `codec` has them.
    identity: whose picture it is.
    filename: its name.
    eyes: float32 [2, 2], centres (left, right) as (x, y) in stored pixels.
    boxes: float32 [2, 2], sizes (left, right) as (w, h) in stored pixels.
    opened: how sure it is that both eyes are open, NaN if unknown.
    index_in_identity: place among the records of the person.
    identity_size: how many they are.
    truth: the same scene with open eyes, stored as `image` is, or nothing.
    irises: float32 [2, 3], centres (x, y) and radii (left, right) in stored
      pixels; None where they are not known.
    corners: float32 [4, 2], corners of the eyes (x, y) in stored pixels, in
      the order of `Entry.corners`; all NaN where they are not known.
  """

  image: bytes
  identity: str
  filename: str
  eyes: Float32[np.ndarray, '2 2']
  boxes: Float32[np.ndarray, '2 2']
  opened: float
  index_in_identity: int
  identity_size: int
  truth: bytes
  irises: Float32[np.ndarray, '2 3'] | None
  corners: Float32[np.ndarray, '4 2']

  def without_pictures(self) -> 'Record':
    """Returns what is left without the pictures' bytes."""
    return dataclasses.replace(self, image=b'', truth=b'')


def parse(serialized: bytes) -> Record:
  """Reads a record's bytes, without TensorFlow.

  Raises:
    InputError: they are not a record, or a value is out of range.
  """
  try:
    example = tf_example_pb2.Example.FromString(serialized)
    feature = example.features.feature
    record = Record(
      image=feature['image'].bytes_list.value[0],
      identity=feature['identity'].bytes_list.value[0].decode(),
      filename=feature['filename'].bytes_list.value[0].decode(),
      eyes=_numbers(feature['eyes'], 2, 2),
      boxes=_numbers(feature['boxes'], 2, 2),
      opened=feature['opened'].float_list.value[0],
      index_in_identity=feature['index_in_identity'].int64_list.value[0],
      identity_size=feature['identity_size'].int64_list.value[0],
      truth=b''.join(feature['truth'].bytes_list.value[:1]),
      irises=(
        _numbers(feature['irises'], 2, 3) if 'irises' in feature else None
      ),
      corners=_corners(feature),
    )
  except (DecodeError, IndexError, ValueError) as error:
    raise InputError(f'not a record of a face: {error}') from error
  if not 0 <= record.index_in_identity < record.identity_size:
    raise InputError(f'{record.filename} has no place among its records')
  return record


def _corners(feature) -> Float32[np.ndarray, '4 2']:
  # Earlier versions of the data sets do not have them.
  if 'corners' not in feature:
    return UNKNOWN_CORNERS
  values = feature['corners'].float_list.value
  if len(values) == UNKNOWN_CORNERS.size and all(map(math.isnan, values)):
    return UNKNOWN_CORNERS
  return _numbers(feature['corners'], *UNKNOWN_CORNERS.shape)


def _numbers(feature, *shape: int) -> Float32[np.ndarray, '...']:
  values = feature.float_list.value[:]
  for value in values:
    if not abs(value) < _LARGEST_COORDINATE:  # NaN is not, either.
      raise ValueError(f'a coordinate is {values}')
  return np.array(values, np.float32).reshape(shape)
