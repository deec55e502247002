"""Imports run one way: the table below is the map of the code."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# Each package or module, and what of the project it may import besides itself
# and `errors` and `files`, which all may. A picture goes from the top down.
ARROWS = {
  'exgan_jax.errors': '',
  'exgan_jax.files': '',
  'exgan_jax.config': '',
  'exgan_jax.contact_sheet': '',
  'exgan_jax.face_records': '',
  'tfds_celeb_id': 'face_records',
  'exgan_jax.runtime': 'face_records config',
  'exgan_jax.models': 'config runtime',
  'exgan_jax.data': 'face_records config contact_sheet runtime models',
  'exgan_jax.training': (
    'face_records config contact_sheet runtime models data'
  ),
  'exgan_jax.evaluation': (
    'face_records config contact_sheet runtime models data training photo'
  ),
  'exgan_jax.photo': (
    'face_records config contact_sheet runtime models training.export'
  ),
  'exgan_jax.perf': 'face_records config runtime models data training',
  'exgan_jax.report': (
    'face_records config contact_sheet evaluation.results evaluation.gallery'
  ),
}
GROUND = ('errors', 'files')
# The command line and the public names import all of it, where it is used.
TOP = {'exgan_jax', 'exgan_jax.cli', 'exgan_jax.cli_photos'}


def _modules() -> dict[str, pathlib.Path]:
  found = {}
  for package in ('exgan_jax', 'tfds_celeb_id'):
    for path in (ROOT / package).rglob('*.py'):
      parts = path.relative_to(ROOT).with_suffix('').parts
      if parts[-1] == '__init__':
        parts = parts[:-1]
      found['.'.join(parts)] = path
  return found


MODULES = _modules()


def _imported(path: pathlib.Path) -> set[str]:
  """Modules of the project that a file imports, anywhere in it."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      for alias in node.names:
        whole = f'{node.module}.{alias.name}'
        found.add(whole if whole in MODULES else node.module)
  return found & MODULES.keys()


def _home(module: str) -> str | None:
  within = [name for name in ARROWS if f'{module}.'.startswith(f'{name}.')]
  return within[0] if within else None


@pytest.mark.parametrize('module', sorted(MODULES.keys() - TOP))
def test_imports_run_one_way(module):
  home = _home(module)
  assert home, f'{module} is in no package of the map'
  allowed = [
    home,
    *(f'exgan_jax.{name}' for name in (*GROUND, *ARROWS[home].split())),
  ]
  for other in _imported(MODULES[module]):
    assert any(f'{other}.'.startswith(f'{name}.') for name in allowed), (
      f'{module} imports {other}; {home} may import {allowed[1:]}'
    )


def draw_map() -> str:
  """Returns the map of packages as Markdown, for docs/architecture.md."""
  rows = ['| package | holds | may import |', '|---|---|---|']
  for home, arrows in ARROWS.items():
    summary = ast.get_docstring(ast.parse(MODULES[home].read_text()))
    named = ', '.join(f'`{name}`' for name in arrows.split())
    rows.append(f'| `{home}` | {summary.splitlines()[0]} | {named} |')
  lines = ['```mermaid', 'flowchart BT']
  for home, arrows in ARROWS.items():
    direct = _direct(set(arrows.split()))
    name = home.removeprefix('exgan_jax.')
    lines += [f'  {name} --> {other}' for other in sorted(direct)]
  return '\n'.join([*rows, '', *lines, '```'])


def _direct(names: set[str]) -> set[str]:
  """Leaves out what another of the names imports anyway."""
  packages = {name.split('.')[0] for name in names}
  return packages - {
    other for name in packages for other in ARROWS[f'exgan_jax.{name}'].split()
  }


MAP = re.compile(r'(<!-- map: .* -->\n)(.*?)(<!-- end of map -->)', re.DOTALL)
PAGE = ROOT / 'docs' / 'architecture.md'


def test_the_map_in_the_docs_is_the_one_above():
  drawn = MAP.search(PAGE.read_text())[2].strip()
  assert drawn == draw_map(), 'run: python tests/test_layout.py'


if __name__ == '__main__':
  drawn = MAP.sub(
    lambda match: f'{match[1]}\n{draw_map()}\n\n{match[3]}', PAGE.read_text()
  )
  PAGE.write_text(drawn)
