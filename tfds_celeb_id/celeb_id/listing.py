"""Parses the authors' listings, `data.json` and `celeb_params.json`.

Each entry is validated. An unusable entry is rejected, the others are kept.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable
from typing import Any

from exgan_jax.errors import InputError
from exgan_jax.face_records.alignment import Face, Point
from tfds_celeb_id import records

_MAX_PIXELS = 100_000
_MAX_NAME = 255  # Bytes, the limit of most file systems.


@dataclasses.dataclass(frozen=True)
class Aligned:
  """An aligned picture; positions and sizes in its pixels.

  Attributes:
    identity: the person.
    filename: its name in its folder.
    eyes: centers (x, y) of the left and the right eye.
    boxes: their sizes (w, h).
    opened: confidence that both eyes are open, 0 to 1; NaN if unknown.
    closed: confidence that an eye is closed, 0 to 1; NaN if unknown.
  """

  identity: str
  filename: str
  eyes: tuple[Point, Point]
  boxes: tuple[Point, Point]
  opened: float
  closed: float


@dataclasses.dataclass(frozen=True)
class Raw:
  """A photo to be aligned, and the face in it."""

  identity: str
  filename: str
  face: Face


class _EntryError(ValueError):
  """An entry cannot be used; the message says why."""


def parse_aligned(data: bytes) -> list[Aligned | records.Rejected]:
  """Parses `data.json`: {identity: [{filename, eye_left, box_left, ...}]}.

  Raises:
    InputError: it is not a JSON object.
  """
  return _unique(
    _parse(
      _aligned,
      identity,
      entry,
      entry.get('filename') if isinstance(entry, dict) else None,
    )
    for identity, entries in _members(data)
    for entry in (entries if isinstance(entries, list) else [entries])
  )


def parse_raw(data: bytes) -> list[Raw | records.Rejected]:
  """Parses `celeb_params.json`: {filename: {eye_left, ..., roll, ...}}.

  As in the authors' script, the identity is the filename up to its last hyphen.
  All pictures of an identity follow its first one; otherwise the order is that
  of the file.

  Raises:
    InputError: it is not a JSON object.
  """
  people: dict[str, list[Raw | records.Rejected]] = {}
  for each in _unique(
    _parse(
      _raw, filename.rpartition('.')[0].rpartition('-')[0], entry, filename
    )
    for filename, entry in _members(data)
  ):
    people.setdefault(each.identity, []).append(each)
  return [each for pictures in people.values() for each in pictures]


def is_plain(name: Any) -> bool:
  """Returns whether a name can only mean a file in the current folder."""
  return (
    isinstance(name, str)
    and name not in ('', '.', '..')
    and not set(name) & set('/\\:')
    and name.isprintable()
    and len(name.encode('utf-8', 'replace')) <= _MAX_NAME
  )


def _members(data: bytes) -> list[tuple[str, Any]]:
  """Returns the members of a JSON object, including repeated names."""
  members: list[tuple[str, Any]] = []

  def hook(pairs):
    # Called last for the outermost object.
    nonlocal members
    members = pairs
    return dict(pairs)

  try:
    parsed = json.loads(data, object_pairs_hook=hook)
  except (ValueError, RecursionError) as error:
    message = str(error).partition('\n')[0][:200]
    raise InputError(f'cannot be parsed as JSON: {message}') from error
  if not isinstance(parsed, dict):
    raise InputError(f'not a JSON object but {type(parsed).__name__}')
  return members


def _parse(
  parse: Callable, identity: str, entry: Any, filename: Any
) -> Any | records.Rejected:
  shown = records.readable_name(
    filename if isinstance(filename, str) else f'an entry of {identity}'
  )[:_MAX_NAME]
  identity = records.readable_name(identity)
  try:
    if not isinstance(entry, dict):
      raise _EntryError('its entry is not an object')
    if not is_plain(filename):
      raise _EntryError('not a plain file name')
    if not identity or len(identity.encode()) > _MAX_NAME:
      raise _EntryError('no identity')
    return parse(identity, filename, entry)
  except _EntryError as error:
    return records.Rejected(identity[:_MAX_NAME], shown, str(error))


def _aligned(identity: str, filename: str, entry: dict) -> Aligned:
  return Aligned(
    identity,
    filename,
    eyes=_eyes(entry),
    boxes=(
      _pair(entry, 'box_left', ('w', 'h'), low=1),
      _pair(entry, 'box_right', ('w', 'h'), low=1),
    ),
    opened=_score(entry, 'opened'),
    closed=_score(entry, 'closed'),
  )


def _raw(identity: str, filename: str, entry: dict) -> Raw:
  face = Face(
    eyes=_eyes(entry),
    mouth=_point(entry, 'mouth_center'),
    x=_number(entry, 'face_x'),
    y=_number(entry, 'face_y'),
    width=_number(entry, 'face_w', low=1),
    height=_number(entry, 'face_h', low=1),
    roll=_number(entry, 'roll', low=-360, high=360),
    opened=_score(entry, 'eyes_opened'),
    closed=_score(entry, 'eyes_closed'),
  )
  return Raw(identity, filename, face)


def _eyes(entry: dict) -> tuple[Point, Point]:
  left, right = _point(entry, 'eye_left'), _point(entry, 'eye_right')
  if left and right:
    return left, right
  missing = ['no left'] * (not left) + ['no right'] * (not right)
  raise _EntryError(f'{" and ".join(missing)} eye')


def _point(entry: dict, name: str) -> Point | None:
  return None if entry.get(name) is None else _pair(entry, name, ('x', 'y'))


def _pair(
  entry: dict, name: str, keys: tuple[str, str], low: float = -_MAX_PIXELS
) -> Point:
  value = entry.get(name)
  if not isinstance(value, dict):
    raise _EntryError(f'no {name}')
  try:
    first, second = (_number(value, key, low) for key in keys)
  except _EntryError as error:
    raise _EntryError(f'{name}: {error}') from error
  return first, second


def _score(entry: dict, name: str) -> float:
  if entry.get(name) is None:
    return math.nan
  return _number(entry, name, low=0, high=1)


def _number(
  entry: dict, name: str, low: float = -_MAX_PIXELS, high: float = _MAX_PIXELS
) -> float:
  value = entry.get(name)
  if isinstance(value, bool) or not isinstance(value, int | float):
    raise _EntryError(f'{name} is not a number')
  if not low <= value <= high:  # Also rejects NaN.
    raise _EntryError(f'{name} is out of range')
  return float(value)


def _unique(entries: Iterable[Any]) -> list[Any]:
  """Rejects entries whose file name was used before."""
  seen, unique = set(), []
  for each in entries:
    if not isinstance(each, records.Rejected):
      name = records.readable_name(each.filename)
      if name in seen:
        each = records.Rejected(
          each.identity, each.filename, 'the name of an earlier picture'
        )
      seen.add(name)
    unique.append(each)
  return unique
