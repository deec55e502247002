"""Which frames of a folder of real blinks belong together."""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
import math
import pathlib

from exgan_jax import files
from exgan_jax.errors import InputError

PAIRS = 'pairs.csv'


@dataclasses.dataclass(frozen=True)
class Blink:
  """A photograph with closed eyes, and what belongs to it.

  Attributes:
    person: name of the person's folder.
    closed: the photograph.
    truth: the nearest open frame of that moment.
    reference: an open frame of another moment.
    other_side: the open frame on the other side of the blink, if there is one.
  """

  person: str
  closed: pathlib.Path
  truth: pathlib.Path
  reference: pathlib.Path
  other_side: pathlib.Path | None

  @property
  def name(self) -> str:
    """The photograph's name in the folder, without its suffix."""
    return f'{self.person}/{self.closed.stem}'

  @property
  def frames(self) -> list[pathlib.Path]:
    found = (self.closed, self.truth, self.reference, self.other_side)
    return [path for path in found if path is not None]


def read_blinks(folder: str | pathlib.Path) -> list[Blink]:
  """Reads which frames belong together.

  The folder holds `<person>/closed_*` and `<person>/open_<moment>_*`, and
  `pairs.csv` with the columns `person`, `closed` and `open`: a blink and an
  open frame of the same moment. Optional are `eyes_moved`, by which the nearest
  frame is chosen, and `strict`: pairs with 0 are no truth. The reference is the
  first frame of another moment; blinks without one are left out.

  Raises:
    InputError: `pairs.csv` is missing or is not like that, or no blink is left.
  """
  path = pathlib.Path(folder) / PAIRS
  data = files.read_bytes(path, files.MAX_JSON_BYTES)
  nearest: dict[tuple[str, str], tuple[float, str]] = {}
  opened = collections.defaultdict(set)
  try:
    for row in csv.DictReader(io.StringIO(data.decode('utf-8'), newline='')):
      person, closed, open_ = (
        row[name] for name in ('person', 'closed', 'open')
      )
      for name in (person, closed, open_):
        if not name or pathlib.Path(name).name != name or '\0' in name:
          raise ValueError(f'{name!r} is not a file name')
      opened[person].add(open_)
      moved = float(row.get('eyes_moved') or 0)
      if row.get('strict') == '0' or math.isnan(moved):
        continue
      # The first of several equally near ones.
      known = nearest.get((person, closed))
      if known is None or moved < known[0]:
        nearest[person, closed] = moved, open_
  except (ValueError, KeyError, csv.Error) as error:
    raise InputError(f'{path} is not a list of blinks: {error}') from error
  blinks = []
  for (person, closed), (_, truth) in sorted(nearest.items()):
    same = {o for o in opened[person] if _moment(o) == _moment(truth)}
    others = sorted(opened[person] - same)
    sides = sorted(same - {truth})
    at = path.parent / person
    if others:
      side = at / sides[0] if sides else None
      blinks.append(
        Blink(person, at / closed, at / truth, at / others[0], side)
      )
  if not blinks:
    raise InputError(f'{path} has no blink with open frames of two moments')
  return blinks


def _moment(name: str) -> str:
  return pathlib.Path(name).stem.split('_')[1] if '_' in name else name
