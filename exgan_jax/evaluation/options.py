"""How to evaluate, and whether what comes of it can be written."""

from __future__ import annotations

import dataclasses
import pathlib

from exgan_jax.errors import InputError
from exgan_jax.evaluation.gallery import SUFFIX
from exgan_jax.files import check_folder_of, check_output

# What is written beside results.json.
BESIDE = ('.csv', SUFFIX, '.png')


@dataclasses.dataclass(frozen=True)
class Options:
  """How to evaluate; `exgan_jax.evaluate` tells what they mean."""

  split: str = 'test'
  baselines: bool = False
  references: int = 1
  compressor: str | pathlib.Path | None = None
  inception: str | pathlib.Path | None = None
  unverified_inception: str | pathlib.Path | None = None
  real_statistics: str | pathlib.Path | None = None
  pictures: str | pathlib.Path | None = None
  batch_size: int = 32

  def __post_init__(self):
    """Raises InputError where a number makes no sense."""
    for name in ('references', 'batch_size'):
      if getattr(self, name) < 1:
        flag = name.replace('_', '-')
        raise InputError(f'--{flag} must be at least 1')

  def check(self, output: str | pathlib.Path | None) -> None:
    """Says, before the work, whether what comes of it could be written.

    Raises:
      InputError: it could not, or would be written over something else.
    """
    kept = self.real_statistics
    if kept is not None and pathlib.Path(kept).is_dir():
      raise InputError(f'--real-statistics names no file: {str(kept)!r}')
    for path in (kept, self.pictures):
      if path is not None:
        check_folder_of(pathlib.Path(path))
    if output is None:
      return
    check_output(output)
    beside = [pathlib.Path(output).with_suffix(x) for x in BESIDE]
    if kept is not None and pathlib.Path(kept).resolve() in [
      path.resolve() for path in beside
    ]:
      raise InputError(
        f'--real-statistics {kept} would be overwritten by what comes with'
        ' --output'
      )

  @property
  def protocol(self) -> str:
    """How references are chosen."""
    if self.references == 1:
      return 'next-image'
    return f'next-{self.references}-images'
