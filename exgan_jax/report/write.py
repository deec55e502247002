"""Writes the report: report.md, its figures, and report.html."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from exgan_jax import contact_sheet, files
from exgan_jax.evaluation import gallery
from exgan_jax.evaluation import results as results_lib
from exgan_jax.evaluation.results import Score
from exgan_jax.report import blind, figures, markdown
from exgan_jax.report import page as page_lib
from exgan_jax.report.sections import Run, sections

FILENAME = 'report.md'
PAGE = 'report.html'


def write_report(paths: Sequence[str], output: str | pathlib.Path) -> str:
  """Writes the report into a folder and returns its Markdown.

  Args:
    paths: paths of results.json and score.json files, and of those that the
      page of a blind choice saves. The gallery of a file is beside it, with
      the suffix `.npz`.
    output: folder for `report.md`, `figure1.png`, `figure2.png` and
      `report.html`, which also has the plots.

  Raises:
    InputError: a file cannot be read, or holds no results or no gallery.
    OSError: the report cannot be written.
  """
  runs, scores, answers = [], [], []
  for path in paths:
    fields = files.read_json(path)
    if blind.FIELD in fields:
      answers.append(blind.checked(path, fields))
      continue
    found = results_lib.load(path)
    if isinstance(found, Score):
      scores.append(found)
      continue
    images = None
    beside = pathlib.Path(path).with_suffix(gallery.SUFFIX)
    if beside.is_file() and found.resolution is not None:
      images = gallery.load(beside)
      figures.check(str(beside), images, found.resolution)
    runs.append(Run(found, images))
  made = sections(runs, scores)
  made += [blind.section(answers)] if answers else []
  folder = pathlib.Path(output)
  folder.mkdir(parents=True, exist_ok=True)
  names = []
  for index, section in enumerate(made):
    suffix = f'-{index + 1}' if index else ''
    names.append(
      [f'figure{i}{suffix}.png' for i in range(1, len(section.figures) + 1)]
    )
    for figure, name in zip(section.figures, names[-1], strict=True):
      contact_sheet.save(figure.draw(), folder / name)
  text = markdown.render(made, names)
  (folder / FILENAME).write_text(text, encoding='utf-8')
  page = page_lib.render(made)
  (folder / PAGE).write_text(page, encoding='utf-8')
  return text
