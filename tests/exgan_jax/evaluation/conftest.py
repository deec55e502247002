"""Fixtures of the evaluation's tests."""

import pytest

from exgan_jax import config as config_lib


@pytest.fixture(scope='package')
def make_config(synth_data):
  """Makes configurations of runs that take seconds: preset, workdir, others."""

  def make(preset, workdir, **fields):
    sizes = ('batch_size', 'compressor_width', 'generator_width')
    fields = dict.fromkeys((*sizes, 'discriminator_width'), 4) | fields
    return config_lib.make(
      preset,
      'tiny',
      dataset='synth_id',
      data_dir=synth_data,
      workdir=str(workdir),
      **{'resolution': 64, 'dilations': 2, 'reader_threads': 2, **fields},
    )

  return make


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
  """An empty cache for every test."""
  folder = tmp_path_factory.mktemp('cache')
  monkeypatch.setenv('XDG_CACHE_HOME', str(folder))
  return folder / 'exgan_jax'
