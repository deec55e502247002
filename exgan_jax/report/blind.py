"""The blind choice: whether people tell painted pictures from true ones.

`write_page` makes a page that asks them, and the file that it saves is a row of
the report.
"""

from __future__ import annotations

import base64
import io
import math
import pathlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.face_records.pictures import UnusablePictureError, read_picture
from exgan_jax.report import page
from exgan_jax.report import tables as tables_lib
from exgan_jax.report.sections import Section
from exgan_jax.report.tables import Line

PAGE, TEMPLATE = 'blind.html', 'blind.html.jinja'
# The field that only files of answers have.
FIELD = 'choices'
# What is counted, and which of the answers yes, no and cannot tell make its
# share. The paper counts pictures "taken for real or not told".
QUESTIONS = {
  'painted_found': (0,),
  'painted_real': (0, 2),
  'true_real': (0, 2),
  'painted_same': (0,),
  'true_same': (0,),
}
MOST = 30
"""Scenes on a page; one person answers as many questions."""

_Z = 1.959964  # Of a 95 % interval.
_MAX_METHOD, _MAX_COUNT = 100, 2**31


def write_page(
  folder: str | pathlib.Path, output: str | pathlib.Path
) -> pathlib.Path:
  """Writes a self-contained page that asks about the pictures of a folder.

  Args:
    folder: with the folders `original` and `result`, which hold PNG files of
      the same names, as `exgan evaluate --pictures` writes them. Only with a
      folder `reference` is asked who it is.
    output: folder for `blind.html`.

  Raises:
    InputError: a picture is missing or cannot be read.
    OSError: the page cannot be written.
  """
  folder = pathlib.Path(folder)
  kinds = ['original', 'result']
  if (folder / 'reference').is_dir():
    kinds.append('reference')
  names = sorted(
    path.relative_to(folder / 'original')
    for path in (folder / 'original').rglob('*.png')
  )
  if not names:
    raise InputError(f'{folder / "original"} holds no PNG files')
  if len(names) > MOST:
    names = random.Random(0).sample(names, MOST)
  scenes = [
    {kind: _data_uri(folder / kind / name) for kind in kinds} for name in names
  ]
  text = page.template(TEMPLATE).render(
    scenes=scenes, method=folder.resolve().name, questions=list(QUESTIONS)
  )
  path = pathlib.Path(output) / PAGE
  files.write_text(path, text)
  return path


def _data_uri(path: pathlib.Path) -> str:
  # Written again without a loss, so that no metadata tells.
  try:
    image = Image.fromarray(read_picture(path))
  except UnusablePictureError as error:
    raise InputError(f'{path}: {error}') from error
  data = io.BytesIO()
  image.save(data, 'WEBP', lossless=True, quality=0, method=0)
  return f'data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}'


def checked(path: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns what a page has saved, if it has.

  Raises:
    InputError: it is something else.
  """
  method, choices = fields.get('method'), fields.get(FIELD)
  if not (
    fields.keys() == {'method', FIELD}
    and isinstance(method, str)
    and 0 < len(method) <= _MAX_METHOD
    and method.isprintable()
    and isinstance(choices, dict)
    and choices.keys() == QUESTIONS.keys()
    and all(map(_is_tally, choices.values()))
  ):
    raise InputError(f'{path} holds no answers of a blind choice')
  return fields


def _is_tally(value: Any) -> bool:
  return (
    isinstance(value, list)
    and len(value) == 3
    and all(type(n) is int and 0 <= n < _MAX_COUNT for n in value)
  )


def section(answers: Sequence[Mapping[str, Any]]) -> Section:
  """Returns the shares of all people's answers, a row per method."""
  lines = []
  for method in dict.fromkeys(one['method'] for one in answers):
    found = [one[FIELD] for one in answers if one['method'] == method]
    metrics, intervals, total = {}, {}, 0
    for name, counted in QUESTIONS.items():
      tally = [
        sum(column) for column in zip(*(x[name] for x in found), strict=True)
      ]
      chosen, count = sum(tally[i] for i in counted), sum(tally)
      total += count
      if count:
        metrics[name] = chosen / count
        intervals[name] = wilson(chosen, count)
    detail = f'{len(found)} file(s), {total} choices'
    lines.append(Line(method, detail, 'folder', [metrics], [intervals]))
  return Section(
    title='Blind choice',
    lead='People were shown painted and true pictures without being told which'
    ' is which. Intervals are 95 % Wilson intervals of the shares; several'
    ' answers of one person count as if they were of several people.',
    tables=tables_lib.tables(lines, None),
    skipped=[],
    provenance=[],
  )


def wilson(chosen: int, count: int) -> list[float]:
  """Returns the 95 % interval of a binomial share.

  Wilson, "Probable inference, the law of succession, and statistical
  inference", 1927.
  """
  square = _Z**2
  middle = (chosen + square / 2) / (count + square)
  root = math.sqrt(chosen * (count - chosen) / count + square / 4)
  half = _Z * root / (count + square)
  return [max(0.0, middle - half), min(1.0, middle + half)]
