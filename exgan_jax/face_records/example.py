"""Parses a serialized tf.train.Example without TensorFlow."""

import math

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from jaxtyping import Float32

from exgan_jax.errors import InputError
from exgan_jax.face_records.record import UNKNOWN_CORNERS, Record

_PACKAGE = 'exgan'
_Field = descriptor_pb2.FieldDescriptorProto


def _message_class() -> type[Message]:
  """Returns a message class with the wire format of tf.train.Example.

  See tensorflow/core/example/example.proto. The class is in a pool of its own,
  so TensorFlow can be imported in the same process.
  """
  file = descriptor_pb2.FileDescriptorProto(
    name='exgan/example.proto', package=_PACKAGE, syntax='proto3'
  )

  def add(parent, name: str, *fields: tuple[str, int, str, int]):
    message = parent.add(name=name)
    for number, (field, kind, type_name, label) in enumerate(fields, 1):
      path = f'.{_PACKAGE}.{type_name}' if type_name else None
      message.field.add(
        name=field, number=number, type=kind, label=label, type_name=path
      )
    return message

  top = file.message_type
  one, many = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED
  add(top, 'BytesList', ('value', _Field.TYPE_BYTES, '', many))
  add(top, 'FloatList', ('value', _Field.TYPE_FLOAT, '', many))
  add(top, 'Int64List', ('value', _Field.TYPE_INT64, '', many))
  lists = [
    (f'{name.lower()}_list', _Field.TYPE_MESSAGE, f'{name}List', one)
    for name in ('Bytes', 'Float', 'Int64')
  ]
  feature = add(top, 'Feature', *lists)
  feature.oneof_decl.add(name='kind')
  for field in feature.field:
    field.oneof_index = 0
  entry = 'Features.FeatureEntry'
  features = add(top, 'Features', ('feature', _Field.TYPE_MESSAGE, entry, many))
  fields = (
    ('key', _Field.TYPE_STRING, '', one),
    ('value', _Field.TYPE_MESSAGE, 'Feature', one),
  )
  add(features.nested_type, 'FeatureEntry', *fields).options.map_entry = True
  add(top, 'Example', ('features', _Field.TYPE_MESSAGE, 'Features', one))
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  name = f'{_PACKAGE}.Example'
  return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


Example = _message_class()

# Larger coordinates could overflow in later computations.
_LARGEST_COORDINATE = 1e5


def parse(serialized: bytes) -> Record:
  """Parses a record.

  Raises:
    InputError: it is not a record, or a value is out of range.
  """
  try:
    feature = Example.FromString(serialized).features.feature
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
    raise InputError(f'{record.filename} has an invalid index_in_identity')
  return record


def _corners(feature) -> Float32[np.ndarray, '4 2']:
  # Missing in earlier versions of the data sets.
  if 'corners' not in feature:
    return UNKNOWN_CORNERS
  values = feature['corners'].float_list.value
  if len(values) == UNKNOWN_CORNERS.size and all(map(math.isnan, values)):
    return UNKNOWN_CORNERS
  return _numbers(feature['corners'], *UNKNOWN_CORNERS.shape)


def _numbers(feature, *shape: int) -> Float32[np.ndarray, '...']:
  values = feature.float_list.value[:]
  for value in values:
    if not abs(value) < _LARGEST_COORDINATE:  # Also rejects NaN.
      raise ValueError(f'a coordinate is {values}')
  return np.array(values, np.float32).reshape(shape)
