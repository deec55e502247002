"""The authors' two listings, `data.json` and `celeb_params.json`.

Both come from elsewhere, so nothing in them is believed: what an entry says is
checked, and an entry that cannot be used is rejected by name and costs no other
one anything.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from exgan_jax.errors import InputError
from exgan_jax.face_records.alignment import Face, Point
from tfds_celeb_id import records

# Nothing in a photograph is further away, or larger.
_MAX_PIXELS = 100_000
# Celeb-ID has less than a million.
_MAX_OBJECTS = 10_000_000
_MAX_DIGITS = 20
_MAX_NAME = 255  # Bytes; longer names exist on no disk.


@dataclasses.dataclass(frozen=True)
class Aligned:
  """An aligned picture; positions and sizes in its pixels.

  Attributes:
    identity: whose picture it is.
    filename: its name in its folder.
    eyes: centres (x, y) of the left and the right eye.
    boxes: their sizes (w, h).
    opened: how sure it is that both eyes are open, 0 to 1; NaN if unknown.
    closed: how sure it is that an eye is closed, 0 to 1; NaN if unknown.
  """

  identity: str
  filename: str
  eyes: tuple[Point, Point]
  boxes: tuple[Point, Point]
  opened: float
  closed: float


@dataclasses.dataclass(frozen=True)
class Raw:
  """A photograph to be aligned: whose it is, its name, the face in it."""

  identity: str
  filename: str
  face: Face


class _EntryError(ValueError):
  """An entry cannot be used; the message says why."""


class _Object(dict):
  """A JSON object that remembers the members whose names come twice."""

  __slots__ = ('pairs',)

  def __init__(self, pairs: list[tuple[str, Any]]):
    super().__init__(pairs)
    self.pairs = pairs if len(pairs) > len(self) else None

  def every(self) -> Iterator[tuple[str, Any]]:
    """Yields all members in order, those with repeated names too."""
    yield from self.pairs or self.items()


def parse_aligned(data: bytes) -> list[Aligned | records.Rejected]:
  """Reads `data.json`: {identity: [{filename, eye_left, box_left, ...}]}.

  Raises:
    InputError: it is not a JSON object.
  """
  return _unique(
    _entry(_aligned, identity, entry, _name_in(entry))
    for identity, entries in _load(data).every()
    for entry in _entries(entries)
  )


def _entries(entries: Any) -> list[Any]:
  """What is listed of a person: all objects, and one of what is none."""
  if not isinstance(entries, list):
    return [entries]
  # Millions of numbers need not be reported one by one.
  others = (entry for entry in entries if not isinstance(entry, dict))
  objects = [entry for entry in entries if isinstance(entry, dict)]
  return [*objects, *itertools.islice(others, 1)]


def parse_raw(data: bytes) -> list[Raw | records.Rejected]:
  """Reads `celeb_params.json`: {filename: {eye_left, ..., roll, ...}}.

  Pictures come in the order of the file, those of one identity together where
  its first one is, as the authors' script lists them.

  Raises:
    InputError: it is not a JSON object.
  """
  people: dict[str, list[Raw | records.Rejected]] = {}
  for each in _unique(
    _entry(_raw, identity_of(filename), entry, filename)
    for filename, entry in _load(data).every()
  ):
    people.setdefault(each.identity, []).append(each)
  return [each for pictures in people.values() for each in pictures]


def identity_of(filename: str) -> str:
  """Returns a file name up to its last hyphen; '' if it has none."""
  return filename.rpartition('.')[0].rpartition('-')[0]


def is_plain(name: Any) -> bool:
  """Returns whether a name can only mean a file in the folder at hand."""
  return (
    isinstance(name, str)
    and name not in ('', '.', '..')
    and not set(name) & set('/\\:')
    and name.isprintable()
    and len(name.encode('utf-8', 'replace')) <= _MAX_NAME
  )


def _load(data: bytes) -> _Object:
  number = itertools.count()

  def make(pairs):
    if next(number) >= _MAX_OBJECTS:
      raise ValueError('too many objects')
    return _Object(pairs)

  try:
    parsed = json.loads(data, object_pairs_hook=make, parse_int=_whole)
  # Besides bad syntax: brackets without end, numbers without end, not UTF-8.
  except (ValueError, RecursionError) as error:
    message = str(error).partition('\n')[0][:200]
    raise InputError(f'not JSON that can be read: {message}') from error
  if not isinstance(parsed, _Object):
    raise InputError(f'not a JSON object but {type(parsed).__name__}')
  return parsed


def _whole(digits: str) -> float:
  # Python refuses to read numbers without end, and all that is around them.
  return int(digits) if len(digits) <= _MAX_DIGITS else math.inf


def _entry(
  read: Callable, identity: str, entry: Any, filename: Any
) -> Aligned | Raw | records.Rejected:
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
    return read(identity, filename, entry)
  except _EntryError as error:
    return records.Rejected(identity[:_MAX_NAME], shown, str(error))


def _name_in(entry: Any) -> Any:
  return entry.get('filename') if isinstance(entry, dict) else None


def _aligned(identity: str, filename: str, entry: dict) -> Aligned:
  eyes = _both(_point(entry, 'eye_left'), _point(entry, 'eye_right'))
  left, right = (
    _pair(entry.get(name), name, ('w', 'h'), low=1)
    for name in ('box_left', 'box_right')
  )
  opened, closed = (_score(entry, name) for name in ('opened', 'closed'))
  return Aligned(identity, filename, eyes, (left, right), opened, closed)


def _raw(identity: str, filename: str, entry: dict) -> Raw:
  face = Face(
    eyes=_both(_point(entry, 'eye_left'), _point(entry, 'eye_right')),
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


def _both(left: Point | None, right: Point | None) -> tuple[Point, Point]:
  if left is None or right is None:
    missing = [
      name
      for name, point in (('left', left), ('right', right))
      if point is None
    ]
    raise _EntryError(f'no {" and no ".join(missing)} eye')
  return left, right


def _point(entry: dict, name: str) -> Point | None:
  point = entry.get(name)
  return None if point is None else _pair(point, name, ('x', 'y'))


def _pair(
  value: Any, name: str, keys: tuple[str, str], low: float = -_MAX_PIXELS
) -> Point:
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
  if not low <= value <= high:  # NaN is not, either.
    raise _EntryError(f'{name} is out of range')
  return float(value)


def _unique(entries: Iterator) -> list:
  """Returns the entries; a file name's second one is rejected."""
  seen, unique = set(), []
  for each in entries:
    if not isinstance(each, records.Rejected):
      name = records.readable_name(each.filename)
      if name in seen:
        each = records.Rejected(
          each.identity, each.filename, 'the name of an earlier picture'
        )
      else:
        seen.add(name)
    unique.append(each)
  return unique
