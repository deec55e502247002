"""Export of a model to two files, and reading it back."""

import dataclasses
import json

import drawn
import jax
import numpy as np
import pytest
import safetensors.numpy

from exgan_jax.config import make, save
from exgan_jax.errors import InputError
from exgan_jax.training import export
from exgan_jax.training.loop import train


@pytest.fixture(scope='module')
def workdir(synth_data, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('run')
  config = make(
    'transfer',
    'tiny',
    **{'dataset': 'synth_id', 'data_dir': synth_data, 'workdir': str(workdir)},
    **{'resolution': 32, 'generator_width': 4, 'discriminator_width': 4},
    **{'batch_size': 4, 'steps': 2},
  )
  train(config)
  return workdir


@pytest.fixture
def folder(workdir, tmp_path):
  export.export(workdir, tmp_path / 'model')
  return tmp_path / 'model'


def _same(one, other):
  pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  return all(np.array_equal(a, b) for a, b in pairs)


def test_an_exported_model_equals_its_run(workdir, folder):
  config, model = export.restore(workdir)
  again, ours = export.restore(folder)
  assert _same(model, ours)
  bare = dataclasses.replace(config, data_dir='', workdir='')
  assert again == bare
  # It contains no paths of the machine.
  assert str(workdir) not in (folder / 'config.json').read_text()
  names = {path.name for path in folder.iterdir()}
  assert names == {'config.json', 'weights.safetensors'}


def test_the_code_model_includes_its_encoder(tmp_path):
  config, model = drawn.untrained('code')
  save(config, tmp_path / 'config.json')
  arrays = {
    name: np.asarray(leaf) for name, leaf in export.named(model).items()
  }
  assert any(name.startswith('encoder/') for name in arrays)
  (tmp_path / 'weights.safetensors').write_bytes(safetensors.numpy.save(arrays))
  assert _same(export.restore(tmp_path)[1], model)


def _name(arrays):
  return next(n for n in sorted(arrays) if arrays[n].ndim == 4)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda a: a.pop(_name(a)), 'is missing'),
    (lambda a: a.update({_name(a): np.zeros(3, np.float32)}), r'\(3,\), not'),
    (lambda a: a.update({_name(a): a[_name(a)].astype(np.float64)}), 'float64'),
    (lambda a: a[_name(a)].fill(np.nan), 'not finite'),
  ],
)
def test_other_weights_are_refused(folder, change, message):
  path = folder / 'weights.safetensors'
  arrays = safetensors.numpy.load_file(path)
  change(arrays)
  path.write_bytes(safetensors.numpy.save(arrays))
  with pytest.raises(InputError, match=message):
    export.restore(folder)


def test_other_files_are_refused(folder, tmp_path):
  with pytest.raises(InputError, match='it has no steps'):
    export.restore(folder, step=1)
  (folder / 'weights.safetensors').write_bytes(b'\x80\x04pickle')
  with pytest.raises(InputError, match='not a safetensors file'):
    export.restore(folder)
  with pytest.raises(InputError, match='cannot read'):
    export.restore(tmp_path / 'none')
  config = json.loads((folder / 'config.json').read_text())
  compressor = config | {'preset': 'compressor'}
  (folder / 'config.json').write_text(json.dumps(compressor))
  with pytest.raises(InputError, match='does not paint'):
    export.restore(folder)


def test_the_pretrained_model_can_be_read():
  config, model = export.restore()
  assert config.preset == 'transfer' and config.resolution >= 128
  assert not any((config.workdir, config.data_dir, config.lpips))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(model))
  size = sum(p.stat().st_size for p in export.PRETRAINED.iterdir())
  assert size < 5_000_000


def test_a_folder_is_a_run_or_an_exported_model(workdir, folder):
  with pytest.raises(InputError, match='is the folder of a run'):
    export.export(workdir, workdir)
  assert not (workdir / 'weights.safetensors').exists()
  config = export.restore(workdir)[0]
  with pytest.raises(InputError, match='is an exported model'):
    train(dataclasses.replace(config, workdir=str(folder)))


def test_weights_belong_to_their_configuration(folder):
  config = json.loads((folder / 'config.json').read_text())
  (folder / 'config.json').write_text(json.dumps(config | {'seed': 5}))
  with pytest.raises(InputError, match='export it again'):
    export.restore(folder)
