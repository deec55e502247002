"""Rules for the fields of results.json and score.json."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from exgan_jax.errors import InputError

MAX_TEXT = 500

_MAX_DEPTH = 3

# Far above any metric; sums and ratios of smaller numbers are finite.
_LIMIT = 2**53

# A test for a field, and what the error message asks for.
Rule = tuple[Callable[[Any], bool], str]


def checked(
  path: str | pathlib.Path, fields: dict[str, Any], rules: Mapping[str, Rule]
) -> dict[str, Any]:
  """Returns the fields if all of them follow their rules.

  Files of older versions have no `intervals`.

  Raises:
    InputError: a field is missing, unknown, or breaks its rule.
  """
  if fields.keys() | {'intervals'} != rules.keys():
    raise InputError(f'{path} does not have the fields of a results file')
  for name, value in fields.items():
    fits, wanted = rules[name]
    if not fits(value):
      raise InputError(f'{path}: {name} is not {wanted}')
  return fields


def is_text(value: Any) -> bool:
  """Returns whether a value is one short line of printable text."""
  return (
    isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()
  )


def _is_count(value: Any) -> bool:
  return type(value) is int and 0 <= value < _LIMIT


def _is_number(value: Any) -> bool:
  # Excludes bool, a subclass of int, and NaN.
  return type(value) in (int, float) and abs(value) < _LIMIT


def _is_metric(value: Any) -> bool:
  return value is None or _is_number(value) or is_text(value)


def _is_interval(value: Any) -> bool:
  return (
    isinstance(value, list)
    and len(value) == 2
    and all(_is_number(end) for end in value)
    and value[0] <= value[1]
  )


def _dict_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
  return lambda value: (
    isinstance(value, dict)
    and all(is_text(key) and fits(item) for key, item in value.items())
  )


def _is_plain(value: Any, depth: int = _MAX_DEPTH) -> bool:
  if isinstance(value, dict | list):
    items = [*value, *value.values()] if isinstance(value, dict) else value
    return depth > 0 and all(_is_plain(item, depth - 1) for item in items)
  return isinstance(value, bool) or _is_metric(value)


_TEXT: Rule = is_text, f'one line of at most {MAX_TEXT} characters'

_COUNT: Rule = _is_count, 'a whole number'

_METRICS: Rule = (
  # One metric says how another was computed.
  lambda value: _dict_of(_is_metric)(value) and not any(
    isinstance(item, str) and not key.endswith('_variant')
    for key, item in value.items()
  ),
  'an object of numbers below 2**53',
)  # fmt: skip

_INTERVALS = _dict_of(_is_interval)

_SHARED: dict[str, Rule] = {
  'num_images': _COUNT,
  'metrics': _METRICS,
  'resolution': (lambda value: value is None or _is_count(value), _COUNT[1]),
  'skipped': (_dict_of(is_text), 'an object of reasons'),
  'provenance': (
    lambda value: isinstance(value, dict) and _is_plain(value),
    'an object of versions and hashes',
  ),
}

RESULTS: dict[str, Rule] = _SHARED | {
  'model': _TEXT,
  'step': _COUNT,
  'dataset': _TEXT,
  'split': _TEXT,
  'protocol': _TEXT,
  'baselines': (_dict_of(_METRICS[0]), 'an object of baselines, their metrics'),
  'intervals': (
    _dict_of(_INTERVALS),
    'an object of methods, their [low, high]',
  ),
}

SCORE: dict[str, Rule] = _SHARED | {
  'method': _TEXT,
  'intervals': (_INTERVALS, 'an object of [low, high]'),
}
