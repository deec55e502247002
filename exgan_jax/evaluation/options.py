"""Options of an evaluation, checked before the work starts."""

from __future__ import annotations

import dataclasses
import pathlib

from exgan_jax.errors import InputError
from exgan_jax.evaluation.gallery import SUFFIX
from exgan_jax.files import check_folder_of, check_output

# Files that are written beside results.json.
BESIDE = ('.csv', SUFFIX, '.png')


@dataclasses.dataclass(frozen=True)
class Options:
  """Options of an evaluation; `exgan_jax.evaluate` documents them.

  Raises:
    InputError: a number is out of range.
  """

  split: str = 'test'
  baselines: bool = False
  references: int = 1
  compressor: str | pathlib.Path | None = None
  lpips: str | pathlib.Path | None = None
  face_landmarker: str | pathlib.Path | None = None
  face_embedding: str | pathlib.Path | None = None
  inception: str | pathlib.Path | None = None
  unverified_inception: str | pathlib.Path | None = None
  real_statistics: str | pathlib.Path | None = None
  pictures: str | pathlib.Path | None = None
  batch_size: int = 32

  def __post_init__(self):
    for name in ('references', 'batch_size'):
      if getattr(self, name) < 1:
        flag = name.replace('_', '-')
        raise InputError(f'--{flag} must be at least 1')

  def check(self, output: str | pathlib.Path | None) -> None:
    """Checks that everything the evaluation writes can be written.

    Raises:
      InputError: it cannot, or one file would overwrite another.
    """
    kept = self.real_statistics
    if kept is not None and pathlib.Path(kept).is_dir():
      raise InputError(f'--real-statistics {str(kept)!r} is a folder')
    for path in (kept, self.pictures):
      if path is not None:
        check_folder_of(pathlib.Path(path))
    if output is None:
      return
    check_output(output)
    beside = [pathlib.Path(output).with_suffix(x).resolve() for x in BESIDE]
    if kept is not None and pathlib.Path(kept).resolve() in beside:
      raise InputError(
        f'--real-statistics {kept} would be overwritten by a file beside'
        ' --output'
      )

  @property
  def protocol(self) -> str:
    """How references are chosen, as results.json names it."""
    if self.references == 1:
      return 'next-image'
    return f'next-{self.references}-images'
