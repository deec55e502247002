"""The documentation builds, and its links and commands lead somewhere."""

import pathlib
import re
import subprocess
import sys

import pytest

from exgan_jax import cli

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [
  *ROOT.glob('*.md'),
  *ROOT.glob('docs/*.md'),
  *ROOT.glob('*/README.md'),
  *ROOT.glob('tfds_celeb_id/*/README.md'),
]
LINK = re.compile(r'\]\(([^)\s#]+)(?:#[^)]*)?\)')
FLAG = re.compile(r'exgan (\w+)([^\n`]*(?:\\\n[^\n]*)*)')


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files(page):
  for target in LINK.findall(page.read_text(encoding='utf-8')):
    if not target.startswith(('http:', 'https:', 'mailto:')):
      assert (page.parent / target).exists(), target


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_flags_in_commands_exist(page, capsys):
  known = {}
  for command, rest in FLAG.findall(page.read_text(encoding='utf-8')):
    if command not in known:
      with pytest.raises(SystemExit):
        cli.main([command, '--help'])
      known[command] = capsys.readouterr().out
    for flag in re.findall(r'(?<!\S)--[a-z][\w-]*', rest):
      exists = re.search(rf'{flag}(?![\w-])', known[command])
      assert exists or not known[command], (command, flag)


def test_the_readme_is_short():
  assert len((ROOT / 'README.md').read_text().splitlines()) <= 200


def test_the_site_builds(tmp_path):
  done = subprocess.run(
    [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', tmp_path],
    cwd=ROOT, capture_output=True, text=True, timeout=300,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert 'score_folders' in (tmp_path / 'api' / 'index.html').read_text()
