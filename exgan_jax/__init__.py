"""Exemplar GANs that open eyes in photographs.

config = exgan_jax.make_config('reference', 'small', dataset='synth_id',
                               data_dir=D, workdir=W)
exgan_jax.train(config)
results = exgan_jax.evaluate(W, D, split='test', baselines=True)
photograph = exgan_jax.Inpainter.from_workdir(W)('blinked.jpg', 'open.jpg')

Only the names in `__all__` are stable. Each is imported when it is first used
(PEP 562), so `import exgan_jax` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from exgan_jax.config import Config
  from exgan_jax.config import make as make_config
  from exgan_jax.errors import InputError
  from exgan_jax.evaluation.api import evaluate
  from exgan_jax.evaluation.folders import score as score_folders
  from exgan_jax.evaluation.results import Results
  from exgan_jax.photo.inpainter import Inpainter
  from exgan_jax.training.loop import train

__version__ = '0.3.0'

__all__ = [
  'Config',
  'Inpainter',
  'InputError',
  'Results',
  '__version__',
  'evaluate',
  'make_config',
  'score_folders',
  'train',
]

_HOMES = {
  'Config': ('config', 'Config'),
  'InputError': ('errors', 'InputError'),
  'Inpainter': ('photo.inpainter', 'Inpainter'),
  'Results': ('evaluation.results', 'Results'),
  'evaluate': ('evaluation.api', 'evaluate'),
  'make_config': ('config', 'make'),
  'score_folders': ('evaluation.folders', 'score'),
  'train': ('training.loop', 'train'),
}


def __getattr__(name: str) -> Any:
  if name not in _HOMES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  module, attribute = _HOMES[name]
  found = getattr(importlib.import_module(f'{__name__}.{module}'), attribute)
  globals()[name] = found
  return found


def __dir__() -> list[str]:
  return sorted(__all__)
