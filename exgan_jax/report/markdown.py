"""Renders the report as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from exgan_jax.report import columns
from exgan_jax.report.sections import Section
from exgan_jax.report.tables import Table

_DIRECTION = '↓ lower is better, ↑ higher is, → nearest to the number is. '


def render(sections: Sequence[Section], pictures: Sequence[list[str]]) -> str:
  """Returns the whole report.

  Args:
    sections: sections of the report.
    pictures: files of the figures of each section.
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
    lines += ['Provenance:', '']
    for title, values in section.provenance:
      made = ', '.join(f'{name} {value}' for name, value in values.items())
      lines.append(f'- {_text(title)}: {_text(made)}')
    lines.append('')
  return '\n'.join(lines)


def _table(table: Table) -> list[str]:
  titles = ' | '.join(
    f'{column.title} {column.arrow}'.strip() for column in table.columns
  )
  note = table.note
  if table.has_paper:
    source = f'[{columns.PAPER}]({columns.PAPER_URL})'
    note += f" The paper's rows: {source}, the Celeb-ID part of its table."
  lines = [
    *(f'### {table.title}', '', note, ''),
    f'| model | runs | {titles} |',
    '|---|---|' + '---|' * len(table.columns),
  ]
  for row in table.rows:
    cells = ' | '.join(map(str, row.cells))
    runs = len(row.line.metrics) if row.line.kind == 'model' else ''
    name = row.line.name.replace('`', "'").replace('|', '\\|')
    title = f'`{name}`'
    if row.line.kind != 'baseline':
      title += f', {_text(row.line.detail)}'
    lines.append(f'| {title} | {runs} | {cells} |')
  return [*lines, '']


def _text(text: str) -> str:
  """Escapes HTML, code, links and the ends of table cells."""
  text = re.sub(r'([\\`|])', r'\\\1', html.escape(text, quote=False))
  return text.replace('](', ']\\(')
