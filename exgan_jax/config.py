"""The configuration of a run: one frozen dataclass, its presets and sizes.

Every field of `Config` is a flag of `exgan train`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib
from collections.abc import Callable
from typing import Any, Literal, get_args, get_type_hints

from exgan_jax import files
from exgan_jax.errors import InputError

Dataset = Literal['celeb_id', 'photo_id', 'synth_id']
Preset = Literal['gan', 'reference', 'code', 'transfer', 'compressor']
Exemplar = Literal['none', 'image', 'code']
Size = Literal['tiny', 'small', 'paper']
Precision = Literal['float32', 'bfloat16']

# In the working directory of a run.
FILENAME = 'config.json'

# How the networks see the reference image. The paper's three models (gan,
# reference, code) differ only in this and in the perceptual loss. The
# compressor learns the codes. `transfer` has its own networks, which move and
# relight the reference's eyes.
EXEMPLARS: dict[str, Exemplar] = {
  'gan': 'none',
  'reference': 'image',
  'code': 'code',
  'transfer': 'image',
  'compressor': 'none',
}

# Defaults by preset.
PRESETS: dict[str, dict[str, Any]] = {
  'gan': {},
  'reference': {},
  'code': {'perceptual_weight': 0.01},
  'transfer': {
    'adam_b1': 0.5,
    'adversarial_weight': 0.05,
    'reconstruction_scales': 3,
  },
  'compressor': {},
}

# Defaults by size. Narrow networks need higher learning rates; only that of
# `tiny` was tuned.
SIZES: dict[str, dict[str, Any]] = {
  'tiny': {
    'generator_learning_rate': 2e-3,
    'generator_width': 8,
    'discriminator_width': 8,
    'compressor_width': 32,
    'dilations': 3,
  },
  'small': {
    'generator_learning_rate': 1e-3,
    'generator_width': 16,
    'discriminator_width': 16,
    'compressor_width': 32,
    'dilations': 3,
  },
  'paper': {
    'generator_learning_rate': 5e-4,
    'generator_width': 32,
    'discriminator_width': 32,
    'compressor_width': 64,
    'dilations': 4,
  },
}


def option(default: Any, text: str) -> Any:
  """Returns a dataclass field with a default and a help text."""
  return dataclasses.field(default=default, metadata={'help': text})


@dataclasses.dataclass(frozen=True)
class Config:
  """Configuration of a training run; use `make` to create one."""

  preset: Preset = option('reference', 'model to train')
  size: Size = option('small', 'size of the networks')
  dataset: Dataset = option('synth_id', 'name of the data set')
  data_dir: str = option('', 'folder that holds the built data sets')
  workdir: str = option('', 'folder of the run; an existing run is resumed')

  compressor: str = option('', 'workdir of the compressor, for --preset code')
  self_reference: float = option(0.0, 'share of pairs made from one picture')
  generator_width: int = option(16, 'generator channels at full resolution')
  discriminator_width: int = option(16, 'channels of the first layers')
  compressor_width: int = option(32, "channels of the compressor's first layer")
  code_size: int = option(128, 'length of the code of one eye')
  dilations: int = option(3, 'number of dilated layers (rates 2, 4, 8, ...)')
  compute_dtype: Precision = option('float32', 'arithmetic type')

  resolution: int = option(128, 'side of the training pictures in pixels')
  batch_size: int = option(16, 'pictures per step over all devices')
  steps: int = option(20_000, 'steps of the whole run')
  seed: int = option(0, 'seed of the parameters and the data order')

  generator_learning_rate: float = option(5e-4, 'generator learning rate')
  discriminator_learning_rate: float = option(2e-4, 'learning rate')
  adam_b1: float = option(0.9, "Adam's beta 1")
  adam_b2: float = option(0.999, "Adam's beta 2")
  decay_steps: int = option(0, 'steps of cosine learning rate decay; 0: none')
  warmup_steps: int = option(0, 'first steps, without the discriminator')
  adversarial_weight: float = option(0.02, 'weight of the adversarial loss')
  gradient_penalty: float = option(1.0, 'weight of the R1 gradient penalty')
  gradient_penalty_every: int = option(
    1, 'steps between gradient penalties, each scaled by their number'
  )
  reconstruction_weight: float = option(1.0, 'weight of L1 in the hole')
  reconstruction_scales: int = option(
    1, 'scales of the L1 loss, each half the resolution of the last'
  )
  eye_weight: float = option(4.0, 'additional weight of L1 at the eyes')
  perceptual_weight: float = option(0.0, 'weight of the loss of eye codes')
  lpips: str = option('', 'LPIPS weights (.npz), for --lpips-weight')
  lpips_weight: float = option(0.0, 'weight of LPIPS between the eye strips')
  ema_decay: float = option(0.999, 'decay of the average of generator weights')

  log_every: int = option(50, 'steps between lines of metrics.jsonl')
  checkpoint_every: int = option(500, 'steps between checkpoints')
  checkpoints_to_keep: int = option(3, 'newest checkpoints to keep')
  sample_every: int = option(500, 'steps between sample sheets')
  reader_threads: int = option(0, 'threads that read pictures; 0: automatic')
  fsdp: int = option(1, 'devices that share one copy of the state')

  @property
  def exemplar(self) -> Exemplar:
    """How the networks see the reference image; see `EXEMPLARS`."""
    return EXEMPLARS[self.preset]

  def __post_init__(self):
    for name, hint in get_type_hints(type(self)).items():
      value = _checked(name, getattr(self, name), hint)
      object.__setattr__(self, name, value)
    for name, (low, high) in _RANGES.items():
      if not low <= getattr(self, name) <= high:
        raise InputError(f'--{flag(name)} must be from {low} to {high}')
    for names, is_valid, rule in _RULES:
      for name in names.split():
        if not is_valid(getattr(self, name)):
          raise InputError(f'--{flag(name)} {rule}')
    if self.preset == 'transfer' and self.resolution % 32:
      raise InputError('--resolution must be a multiple of 32 for transfer')
    presets = {
      'self_reference': ('reference', 'transfer'),
      'lpips_weight': ('transfer',),
      'compressor': ('code',),
      'perceptual_weight': ('code',),
    }
    for name, supported in presets.items():
      if getattr(self, name) and self.preset not in supported:
        raise InputError(
          f'--{flag(name)} is not supported by --preset {self.preset}'
        )


# Smallest and largest values. The largest are far above what was ever of use,
# and small enough for `check_memory` to compute what a step would need.
_RANGES: dict[str, tuple[int, int]] = {
  'generator_width': (1, 512),
  'discriminator_width': (1, 512),
  'compressor_width': (1, 1024),
  'code_size': (1, 4096),
  'dilations': (1, 8),
  # At the coarsest scale an eye still has a few pixels.
  'reconstruction_scales': (1, 4),
  'batch_size': (1, 2**20),
  'steps': (1, 10**9),
  'log_every': (1, 10**9),
  'checkpoint_every': (1, 10**9),
  'checkpoints_to_keep': (1, 10**6),
  'sample_every': (1, 10**9),
  'fsdp': (1, 2**16),
  'gradient_penalty_every': (1, 10**6),
  'decay_steps': (0, 10**9),
  'warmup_steps': (0, 10**9),
  'reader_threads': (0, 256),
}

# Names of fields, check of a value, and what the message says.
_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
  (
    'resolution',
    lambda value: 16 <= value <= 1024 and value % 16 == 0,
    'must be a multiple of 16 up to 1024',
  ),
  ('self_reference', lambda value: 0 <= value <= 1, 'must be in [0, 1]'),
  ('seed', lambda value: 0 <= value < 2**31, 'must be in [0, 2^31)'),
  (
    'adam_b1 adam_b2 ema_decay',
    lambda value: 0 <= value < 1,
    'must be in [0, 1)',
  ),
  (
    'generator_learning_rate discriminator_learning_rate adversarial_weight'
    ' gradient_penalty reconstruction_weight perceptual_weight eye_weight'
    ' lpips_weight',
    lambda value: 0 <= value < math.inf,
    'must be finite and not negative',
  ),
)

# A resumed run may change these: they do not affect what a step computes.
FREE_TO_CHANGE = frozenset(
  {
    *('data_dir', 'workdir', 'compressor', 'lpips', 'steps', 'log_every'),
    *('checkpoint_every', 'checkpoints_to_keep', 'sample_every'),
    *('reader_threads', 'fsdp'),
  }
)

# Fields of older versions, and their values that are still supported.
_REMOVED = {
  'warp_reference': (False,),
  'injection': ('none',),
  'normalization': ('none',),
  'spectral_norm': (False,),
  'exemplar': get_args(Exemplar),  # Follows from the preset.
  'adversarial_loss': ('non_saturating',),
}


def make(preset: str = 'reference', size: str = 'small', **fields) -> Config:
  """Returns the configuration of a preset and size; fields override both.

  Raises:
    InputError: unknown preset, size or field, or a value is out of range.
  """
  if preset not in PRESETS:
    raise InputError(f'unknown preset {preset!r}: use {", ".join(PRESETS)}')
  if size not in SIZES:
    raise InputError(f'unknown size {size!r}: use {", ".join(SIZES)}')
  known = {field.name for field in dataclasses.fields(Config)}
  if unknown := sorted(set(fields) - known):
    raise InputError(f'unknown field of the configuration: {unknown[0]}')
  chosen = {'preset': preset, 'size': size}
  return Config(**PRESETS[preset] | SIZES[size] | fields | chosen)


def flag(name: str) -> str:
  """Returns the flag of a field, without dashes in front."""
  return name.replace('_', '-')


def save(config: Config, path: pathlib.Path) -> None:
  """Writes a configuration as JSON."""
  files.write_json(path, config)


def load(path: pathlib.Path) -> Config:
  """Reads a configuration, also one of an older version.

  Raises:
    InputError: the file does not exist or is not a configuration.
  """
  fields = files.read_json(path)
  for name, supported in _REMOVED.items():
    if fields.pop(name, supported[0]) not in supported:
      raise InputError(
        f'{path}: --{flag(name)} is no longer supported; use an older version'
      )
  try:
    return make(**fields)
  except (InputError, TypeError) as error:
    raise InputError(f'{path}: {error}') from error


def fingerprint(config: Config) -> str:
  """Returns a hash of all fields that affect what a step computes."""
  fields = dataclasses.asdict(config)
  kept = {k: v for k, v in fields.items() if k not in FREE_TO_CHANGE}
  return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def fingerprint_of_seeds(config: Config) -> str:
  """Returns a hash that is equal for runs that differ only in their seeds."""
  return fingerprint(dataclasses.replace(config, seed=0))


def first_difference(before: Config, now: Config) -> str | None:
  """Returns the first differing field that affects what a step computes."""
  for field in dataclasses.fields(Config):
    name = field.name
    if name not in FREE_TO_CHANGE and getattr(before, name) != getattr(
      now, name
    ):
      return name
  return None


def _checked(name: str, value: Any, hint: Any) -> Any:
  """Checks a value's type; integers are converted where floats are needed."""
  if choices := get_args(hint):
    if value not in choices:
      allowed = ', '.join(choices)
      raise InputError(f'--{flag(name)} must be one of {allowed}')
    return value
  if hint is float and type(value) in (int, float):
    try:
      return float(value)
    except OverflowError as error:
      raise InputError(f'--{flag(name)} is too large') from error
  if type(value) is not hint:
    raise InputError(f'--{flag(name)} must be of type {hint.__name__}')
  return value
