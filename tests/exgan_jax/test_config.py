"""The configuration: presets, checks, and its way to disk and back."""

import dataclasses
import json

import pytest

from exgan_jax import config as config_lib
from exgan_jax.errors import InputError


@pytest.mark.parametrize(
  'preset, difference',
  [
    ('reference', {}),
    ('code', {'perceptual_weight': 0.01}),
  ],
)
def test_presets_of_the_paper_differ_in_the_exemplar(preset, difference):
  gan, other = config_lib.make('gan'), config_lib.make(preset)
  assert (gan.exemplar, other.exemplar) in {('none', 'image'), ('none', 'code')}
  assert dataclasses.replace(gan, preset=preset, **difference) == other


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'resolution': 100}, 'multiple of 16'),
    ({'preset': 'transfer', 'resolution': 80}, 'multiple of 32'),
    ({'batch_size': 0}, '--batch-size'),
    ({'batch_size': 10**9}, '--batch-size must be from 1'),
    ({'generator_width': 10_000}, '--generator-width must be from 1 to 512'),
    ({'dilations': 2_000_000}, '--dilations'),
    ({'reader_threads': 100_000}, '--reader-threads'),
    ({'steps': 999_999_999_999_999}, '--steps'),
    ({'steps': 1.5}, '--steps'),
    ({'steps': True}, '--steps'),
    ({'seed': -1}, '--seed'),
    ({'generator_learning_rate': float('nan')}, 'finite'),
    ({'generator_learning_rate': 'fast'}, 'type float'),
    ({'generator_learning_rate': 10**400}, 'too large'),
    ({'preset': 'reference', 'lpips_weight': 0.1}, '--lpips-weight'),
    ({'preset': 'transfer', 'lpips_weight': -0.1}, '--lpips-weight'),
    ({'reconstruction_scales': 0}, '--reconstruction-scales'),
    ({'reconstruction_scales': 5}, '--reconstruction-scales'),
    ({'preset': 'gan', 'perceptual_weight': 0.1}, '--perceptual-weight'),
    ({'preset': 'reference', 'compressor': 'w'}, '--compressor'),
    ({'self_reference': 1.5}, '--self-reference'),
    ({'self_reference': float('nan')}, '--self-reference'),
    ({'preset': 'code', 'self_reference': 0.5}, '--preset code'),
    ({'preset': 'gan', 'self_reference': 0.5}, '--preset gan'),
    ({'warmup_steps': -1}, '--warmup-steps'),
    ({'adam_b1': 1.0}, '--adam-b1'),
    ({'dataset': 'imagenet'}, 'celeb_id'),
    ({'no_such_field': 1}, 'no_such_field'),
    ({'preset': 'stylegan'}, 'stylegan'),
    ({'size': 'huge'}, 'huge'),
  ],
)
def test_a_bad_value_is_one_clear_line(fields, message):
  with pytest.raises(InputError, match=message) as caught:
    config_lib.make(**fields)
  assert '\n' not in str(caught.value)


def test_save_and_load_round_trip(tmp_path):
  config = config_lib.make('gan', 'tiny', resolution=64, seed=3)
  config_lib.save(config, tmp_path / 'config.json')
  assert config_lib.load(tmp_path / 'config.json') == config
  assert [path.name for path in tmp_path.iterdir()] == ['config.json']


@pytest.mark.parametrize(
  'text',
  [None, '', 'nonsense', '[]', '{"steps": "many"}', '{"a": 1}', '[' * 100_000],
)
def test_a_damaged_file_is_refused(tmp_path, text):
  path = tmp_path / 'config.json'
  if text is not None:
    path.write_text(text)
  with pytest.raises(InputError, match=r'config\.json'):
    config_lib.load(path)


def test_configurations_of_older_versions_are_read(tmp_path):
  path, config = tmp_path / 'config.json', config_lib.make('reference')
  fields = dataclasses.asdict(config) | {
    **{'warp_reference': False, 'injection': 'none', 'exemplar': 'image'},
    **{'normalization': 'none', 'spectral_norm': False},
    **{'adversarial_loss': 'non_saturating'},
  }
  path.write_text(json.dumps(fields))
  assert config_lib.load(path) == config
  del fields['gradient_penalty_every']
  path.write_text(json.dumps(fields))
  assert config_lib.load(path).gradient_penalty_every == 1
  for name, value in (
    ('injection', 'attention'),
    ('adversarial_loss', 'hinge'),
  ):
    path.write_text(json.dumps(fields | {name: value}))
    with pytest.raises(InputError, match='is no longer supported'):
      config_lib.load(path)


def test_the_fingerprint_covers_what_a_step_computes():
  base = config_lib.make()
  assert config_lib.fingerprint(base) == config_lib.fingerprint(
    dataclasses.replace(base, steps=7, workdir='elsewhere', log_every=1)
  )
  for change in ({'seed': 1}, {'resolution': 64}, {'batch_size': 8}):
    other = dataclasses.replace(base, **change)
    assert config_lib.fingerprint(base) != config_lib.fingerprint(other)
    assert config_lib.first_difference(base, other) in change


def test_integers_are_converted_to_floats():
  one, same = (config_lib.make(adversarial_weight=v) for v in (1, 1.0))
  assert config_lib.fingerprint(one) == config_lib.fingerprint(same)
