"""Many results to one report: report.md, its figures, and report.html.

Results of one data set, split and resolution share a part of it.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Sequence

from exgan_jax import contact_sheet
from exgan_jax.evaluation import gallery
from exgan_jax.evaluation import results as results_lib
from exgan_jax.evaluation.results import Results, Score
from exgan_jax.report import figures, markdown
from exgan_jax.report import page as page_lib
from exgan_jax.report.sections import Run, Section, sections

FILENAME = 'report.md'
PAGE = 'report.html'


def write_report(paths: Sequence[str], output: str | pathlib.Path) -> str:
  """Writes the report into a folder and returns its Markdown.

  Args:
    paths: of results.json and score.json files. Pictures are those of the
      gallery beside a file: the same name, but ending in `.npz`.
    output: folder for `report.md`, `figure1.png`, `figure2.png` and
      `report.html`, which holds all that and plots, too.

  Raises:
    InputError: a file cannot be read, or holds no results, or no pictures.
    OSError: the report cannot be written.
  """
  runs, scores = [], []
  for path in paths:
    found = results_lib.load(path)
    if isinstance(found, Score):
      scores.append(found)
    else:
      runs.append(Run(found, _gallery_beside(path, found)))
  made = sections(runs, scores)
  folder = pathlib.Path(output)
  folder.mkdir(parents=True, exist_ok=True)
  text = markdown.render(made, _write_figures(made, folder))
  (folder / FILENAME).write_text(text, encoding='utf-8')
  page = page_lib.render(made)
  (folder / PAGE).write_text(page, encoding='utf-8')
  return text


def report(found: Iterable[Results | Score]) -> str:
  """Returns the Markdown of results without pictures."""
  found = list(found)
  made = sections(
    [Run(one) for one in found if isinstance(one, Results)],
    [one for one in found if isinstance(one, Score)],
  )
  return markdown.render(made, [[] for _ in made])


def _gallery_beside(path: str, found: Results) -> gallery.Gallery | None:
  beside = pathlib.Path(path).with_suffix(gallery.SUFFIX)
  if not beside.is_file():
    return None
  pictures = gallery.load(beside)
  figures.check(str(beside), pictures, found.resolution)
  return pictures


def _write_figures(
  made: Sequence[Section], folder: pathlib.Path
) -> list[list[str]]:
  names = []
  for index, section in enumerate(made):
    suffix = f'-{index + 1}' if index else ''
    names.append([])
    for number, figure in enumerate(section.figures, 1):
      names[-1].append(f'figure{number}{suffix}.png')
      contact_sheet.save(figure.draw(), folder / names[-1][-1])
  return names
