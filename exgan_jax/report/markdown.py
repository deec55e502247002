"""The report as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from exgan_jax.report import columns
from exgan_jax.report.sections import Section
from exgan_jax.report.tables import Line, Table

_DIRECTION = (
  'Smaller is better, but for what is painted after a stranger, for the'
  ' Inception Score and for an AUC. '
)


def render(sections: Sequence[Section], pictures: Sequence[list[str]]) -> str:
  """Returns the whole text.

  Args:
    sections: of the report.
    pictures: of each section, the files of its figures.
  """
  parts = [
    _section(section, files)
    for section, files in zip(sections, pictures, strict=True)
  ]
  return '\n'.join(parts)


def _section(section: Section, pictures: Sequence[str]) -> str:
  lines = [f'## {_text(section.title)}', '', _text(section.lead), '']
  for number, (figure, file) in enumerate(
    zip(section.figures, pictures, strict=True), 1
  ):
    caption = f'Figure {number}. {_text(figure.caption)}'
    lines += [f'![Figure {number}]({file})', '', f'*{caption}*', '']
  if section.tables:
    lines += [_DIRECTION + columns.HOW_TO_READ, '']
  for table in section.tables:
    lines += _table(table)
  if section.notes:
    lines += [*(f'- {_text(note)}' for note in section.notes), '']
  if section.skipped:
    skipped = (f'- {_text(line)}' for line in section.skipped)
    lines += ['Not computed:', '', *skipped, '']
  if section.provenance:
    lines += ['What made the numbers:', '']
    for title, values in section.provenance:
      told = ', '.join(f'{name} {value}' for name, value in values.items())
      lines.append(f'- {_text(title)}: {_text(told)}')
    lines.append('')
  return '\n'.join(lines)


def _table(table: Table) -> list[str]:
  titles = ' | '.join(column.title for column in table.columns)
  note = table.note
  if any(row.line.kind == 'paper' for row in table.rows):
    source = f'[{columns.PAPER}]({columns.PAPER_URL})'
    note += f" The paper's rows: {source}, the part of its table on Celeb-ID."
  lines = [
    *(f'### {table.title}', '', note, ''),
    f'| model | runs | {titles} |',
    '|---|---|' + '---|' * len(table.columns),
  ]
  for row in table.rows:
    cells = ' | '.join(map(str, row.cells))
    runs = len(row.line.metrics) if row.line.kind == 'model' else ''
    lines.append(f'| {_title(row.line)} | {runs} | {cells} |')
  return [*lines, '']


def _title(line: Line) -> str:
  name = _code(line.name)
  return name if line.kind == 'baseline' else f'{name}, {_text(line.detail)}'


def _code(text: str) -> str:
  return '`' + text.replace('`', "'").replace('|', '\\|') + '`'


def _text(text: str) -> str:
  """Escapes what would be HTML, code, a link or the end of a table's cell."""
  text = re.sub(r'([\\`|])', r'\\\1', html.escape(text, quote=False))
  return text.replace('](', ']\\(')
