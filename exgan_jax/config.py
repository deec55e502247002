"""The configuration of a run: one frozen dataclass, its presets and sizes.

Every field is a flag of `exgan train`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib
from typing import Any, Literal, get_args, get_type_hints

from exgan_jax import files
from exgan_jax.errors import InputError

Dataset = Literal['celeb_id', 'photo_id', 'synth_id']
Preset = Literal['gan', 'reference', 'code', 'transfer', 'compressor']
Adversarial = Literal['non_saturating', 'hinge', 'least_squares']
Exemplar = Literal['none', 'image', 'code']
Size = Literal['tiny', 'small', 'paper']
Precision = Literal['float32', 'bfloat16']

# Of a run's configuration in its working directory.
FILENAME = 'config.json'

# What the generator and the discriminator see of the reference image. The
# paper's three models (gan, reference, code) differ in this and in the
# perceptual loss only. The compressor learns the codes. `transfer` has its own
# networks, which move and relight the reference's eyes.
EXEMPLARS: dict[str, Exemplar] = {
  'gan': 'none',
  'reference': 'image',
  'code': 'code',
  'transfer': 'image',
  'compressor': 'none',
}

# Defaults that a preset changes.
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

# Narrow networks take larger steps; only that of `tiny` was searched for.
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
  """A field with a default and the line that `--help` shows for it."""
  return dataclasses.field(default=default, metadata={'help': text})


@dataclasses.dataclass(frozen=True)
class Config:
  """One run of training. Made by `make`, which fills preset and size in."""

  preset: Preset = option('reference', 'model to train')
  size: Size = option('small', 'size of the networks')
  dataset: Dataset = option('synth_id', 'name of the data set')
  data_dir: str = option('', 'folder that holds the built data sets')
  workdir: str = option('', 'folder of the run; an existing run is resumed')

  compressor: str = option('', 'workdir of the compressor, for --preset code')
  self_reference: float = option(
    0.0, 'share of training pairs made from a single picture'
  )
  generator_width: int = option(
    16, 'channels of the generator at full resolution'
  )
  discriminator_width: int = option(
    16, "channels of the discriminator's first layers"
  )
  compressor_width: int = option(32, "channels of the compressor's first layer")
  code_size: int = option(128, 'length of the code of one eye')
  dilations: int = option(3, 'number of dilated layers (rates 2, 4, 8, ...)')
  compute_dtype: Precision = option('float32', 'arithmetic type')

  resolution: int = option(128, 'side of the training pictures in pixels')
  batch_size: int = option(16, 'pictures per step over all devices')
  steps: int = option(20_000, 'steps of the whole run')
  seed: int = option(0, 'seed of the parameters and the data order')

  generator_learning_rate: float = option(
    5e-4, 'learning rate of the generator'
  )
  discriminator_learning_rate: float = option(
    2e-4, 'learning rate of the discriminator'
  )
  adam_b1: float = option(0.9, "Adam's beta 1")
  adam_b2: float = option(0.999, "Adam's beta 2")
  decay_steps: int = option(
    0, 'steps of the cosine decay of the learning rates; 0: none'
  )
  warmup_steps: int = option(
    0, 'first steps, trained without the discriminator'
  )
  adversarial_loss: Adversarial = option('non_saturating', 'adversarial loss')
  adversarial_weight: float = option(
    0.02, 'weight of the adversarial loss of the generator'
  )
  gradient_penalty: float = option(1.0, 'weight of the R1 gradient penalty')
  reconstruction_weight: float = option(
    1.0, 'weight of the L1 loss over the hole'
  )
  reconstruction_scales: int = option(
    1, 'scales of the L1 loss, each half the resolution of the last'
  )
  eye_weight: float = option(
    4.0, 'additional weight of the L1 loss at the eyes'
  )
  perceptual_weight: float = option(
    0.0, 'weight of the perceptual loss between eye codes'
  )
  lpips: str = option('', 'LPIPS weights (.npz), for --lpips-weight')
  lpips_weight: float = option(0.0, 'weight of LPIPS between the eye strips')
  ema_decay: float = option(
    0.999, 'decay of the moving average of the generator weights'
  )

  log_every: int = option(50, 'steps between lines of metrics.jsonl')
  checkpoint_every: int = option(500, 'steps between checkpoints')
  checkpoints_to_keep: int = option(
    3, 'how many of the newest checkpoints to keep'
  )
  sample_every: int = option(500, 'steps between sample sheets')
  reader_threads: int = option(
    0, 'threads that read and decode pictures; 0: one per core'
  )
  fsdp: int = option(
    1, 'number of devices that share one copy of the training state'
  )

  @property
  def exemplar(self) -> Exemplar:
    """What the networks see of the reference image; see `EXEMPLARS`."""
    return EXEMPLARS[self.preset]

  def __post_init__(self):
    for name, hint in get_type_hints(type(self)).items():
      value = _checked(name, getattr(self, name), hint)
      object.__setattr__(self, name, value)
    self._check_preset()
    at_least_one = (
      'generator_width', 'discriminator_width', 'compressor_width',
      'code_size', 'dilations', 'reconstruction_scales', 'batch_size', 'steps',
      'log_every',
      'checkpoint_every', 'checkpoints_to_keep', 'sample_every',
      'fsdp',
    )  # fmt: skip
    for name in at_least_one:
      if getattr(self, name) < 1:
        raise InputError(f'--{flag(name)} must be at least 1')
    for name in ('decay_steps', 'warmup_steps', 'reader_threads'):
      if getattr(self, name) < 0:
        raise InputError(f'--{flag(name)} must not be negative')
    if not 16 <= self.resolution <= 1024 or self.resolution % 16:
      raise InputError('--resolution must be a multiple of 16 up to 1024')
    # The coarsest scale still has a few pixels an eye.
    if self.reconstruction_scales > 4:
      raise InputError('--reconstruction-scales must be at most 4')
    if not 0 <= self.self_reference <= 1:
      raise InputError('--self-reference must be in [0, 1]')
    if not 0 <= self.seed < 2**31:
      raise InputError('--seed must be in [0, 2^31)')
    for name in ('adam_b1', 'adam_b2', 'ema_decay'):
      if not 0 <= getattr(self, name) < 1:
        raise InputError(f'--{flag(name)} must be in [0, 1)')
    for name in (
      'generator_learning_rate', 'discriminator_learning_rate',
      'adversarial_weight', 'gradient_penalty', 'reconstruction_weight',
      'perceptual_weight', 'eye_weight', 'lpips_weight',
    ):  # fmt: skip
      value = getattr(self, name)
      if not (math.isfinite(value) and value >= 0):
        raise InputError(f'--{flag(name)} must be finite and not negative')

  def _check_preset(self):
    wrong = f'does not go with --preset {self.preset}'
    if self.exemplar != 'image' and self.self_reference:
      raise InputError(f'--self-reference {wrong}')
    if self.preset == 'transfer' and self.resolution % 32:
      raise InputError('--resolution must be a multiple of 32 for transfer')
    if self.preset != 'transfer' and self.lpips_weight:
      raise InputError(f'--lpips-weight {wrong}')
    for name in ('compressor', 'perceptual_weight'):
      if self.preset != 'code' and getattr(self, name):
        raise InputError(f'--{flag(name)} {wrong}')


# A run may go on with other values of these: they do not change what a step
# computes.
FREE_TO_CHANGE = frozenset({
  'data_dir', 'workdir', 'compressor', 'lpips', 'steps', 'log_every',
  'checkpoint_every', 'checkpoints_to_keep', 'sample_every',
  'reader_threads', 'fsdp',
})  # fmt: skip


# Fields that runs of older versions have, and the values that this version
# still computes.
_REMOVED = {
  'warp_reference': (False,),
  'injection': ('none',),
  'normalization': ('none',),
  'spectral_norm': (False,),
  'exemplar': get_args(Exemplar),  # Always that of the preset.
}


def make(preset: str = 'reference', size: str = 'small', **fields) -> Config:
  """Returns a preset at a size, with single fields set over it.

  Raises:
    InputError: an unknown preset, size or field, or a value out of range.
  """
  if preset not in PRESETS:
    raise InputError(f'unknown preset {preset!r}: one of {", ".join(PRESETS)}')
  if size not in SIZES:
    raise InputError(f'unknown size {size!r}: one of {", ".join(SIZES)}')
  known = {field.name for field in dataclasses.fields(Config)}
  if unknown := sorted(set(fields) - known):
    raise InputError(f'unknown field of the configuration: {unknown[0]}')
  chosen = {'preset': preset, 'size': size}
  return Config(**PRESETS[preset] | SIZES[size] | fields | chosen)


def flag(name: str) -> str:
  """Name of a field as a flag, without the dashes."""
  return name.replace('_', '-')


def save(config: Config, path: pathlib.Path) -> None:
  """Writes a configuration as JSON."""
  files.write_json(path, config)


def load(path: pathlib.Path) -> Config:
  """Reads what `save` wrote.

  Raises:
    InputError: there is no such file, or it is not a configuration.
  """
  try:
    fields = json.loads(path.read_text())
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror}') from error
  except (ValueError, RecursionError) as error:
    raise InputError(f'{path} is not JSON') from error
  if not isinstance(fields, dict):
    raise InputError(f'{path} is not a configuration')
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
  """Hash of all that decides what a step computes."""
  fields = dataclasses.asdict(config)
  kept = {k: v for k, v in fields.items() if k not in FREE_TO_CHANGE}
  return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def fingerprint_of_seeds(config: Config) -> str:
  """The same hash for runs that differ in nothing but their seeds."""
  return fingerprint(dataclasses.replace(config, seed=0))


def first_difference(before: Config, now: Config) -> str:
  """Name of the first field that decides what a step computes and differs."""
  return next(
    field.name
    for field in dataclasses.fields(Config)
    if field.name not in FREE_TO_CHANGE
    and getattr(before, field.name) != getattr(now, field.name)
  )


def _checked(name: str, value: Any, hint: Any) -> Any:
  """The value as its type has it; 1 is a float where one is wanted."""
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
