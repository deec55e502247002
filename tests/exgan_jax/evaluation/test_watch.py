"""Watching a run: each checkpoint is evaluated once, whatever happens."""

import dataclasses
import json
import pathlib
import shutil
import threading

import pytest

from exgan_jax import cli
from exgan_jax.errors import InputError
from exgan_jax.evaluation import api
from exgan_jax.evaluation import evaluator as evaluator_lib
from exgan_jax.evaluation.api import path_of, watch
from exgan_jax.training.loop import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def run(make_config, tmp_path_factory):
  """A run with three checkpoints."""
  config = make_config(
    'gan',
    tmp_path_factory.mktemp('run'),
    resolution=32,
    steps=3,
    checkpoint_every=1,
  )
  train(config)
  return config


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
  monkeypatch.setattr(api, 'SECONDS', 0.05)


@pytest.fixture
def output(tmp_path):
  return tmp_path / 'new' / 'results.json'


@pytest.fixture
def evaluated(monkeypatch):
  """Steps that are evaluated."""
  steps = []
  call = evaluator_lib.Evaluator.__call__

  def counted(self, step, *args):
    steps.append(step)
    return call(self, step, *args)

  monkeypatch.setattr(evaluator_lib.Evaluator, '__call__', counted)
  return steps


def _watch(run, output, **options):
  options = {'batch_size': 16, 'timeout': 60} | options
  return [
    found.step for found in watch(run.workdir, run.data_dir, output, **options)
  ]


def _grow(run, folder, *steps):
  """Copies a run with only some of its checkpoints, or adds some."""
  folder = pathlib.Path(folder)
  (folder / 'checkpoints').mkdir(parents=True, exist_ok=True)
  shutil.copy(pathlib.Path(run.workdir, 'config.json'), folder)
  for step in steps:
    source = pathlib.Path(run.workdir, 'checkpoints', str(step))
    shutil.copytree(source, folder / 'checkpoints' / str(step))
  return dataclasses.replace(run, workdir=str(folder))


def test_each_checkpoint_once_and_to_the_end(run, output, evaluated):
  watching = watch(run.workdir, run.data_dir, output, batch_size=16)
  assert next(watching).step == 1
  watching.close()
  # Continues after an interruption.
  assert _watch(run, output) == [2, 3]
  assert {path.name for path in output.parent.glob('*.json')} == {
    *('results.json', 'results-00000001.json'),
    *('results-00000002.json', 'results-00000003.json'),
  }
  assert json.loads(output.read_text())['step'] == 3
  assert _watch(run, output) == [] and evaluated == [1, 2, 3]
  # Restores missing files of the newest step.
  before = {path: path.read_bytes() for path in output.parent.glob('results.*')}
  assert len(before) == 4
  for path in before:
    path.unlink()
  assert _watch(run, output) == []
  assert {path: path.read_bytes() for path in before} == before


def test_waits_for_a_run_that_has_not_started(run, tmp_path, output):
  workdir = tmp_path / 'later'
  late = dataclasses.replace(run, workdir=str(workdir))
  timer = threading.Timer(0.3, _grow, (run, workdir, 1, 3))
  timer.start()
  assert _watch(late, output) == [1, 3]
  timer.join(60)


def test_stops_waiting_after_the_timeout(run, tmp_path, output):
  unfinished = _grow(run, tmp_path / 'run', 1)
  with pytest.raises(InputError, match=r'no new checkpoint in .* for 0\.2 s'):
    _watch(unfinished, output, timeout=0.2)
  assert path_of(output, 1).is_file()


def test_an_incomplete_checkpoint_is_tried_again(
  run, tmp_path, output, monkeypatch
):
  part = _grow(run, tmp_path / 'run', 1, 3)
  broken = pathlib.Path(part.workdir, 'checkpoints', '1')
  shutil.move(broken / 'model', tmp_path / 'model')
  tried = []
  restore = evaluator_lib.Evaluator.restore

  def mended(self, step):
    tried.append(step)
    if tried == [1, 1]:
      shutil.move(tmp_path / 'model', broken / 'model')
    return restore(self, step)

  monkeypatch.setattr(evaluator_lib.Evaluator, 'restore', mended)
  assert _watch(part, output) == [1, 3]
  assert tried == [1, 1, 3]


def test_damaged_checkpoints_are_skipped(run, tmp_path, output, caplog):
  part = _grow(run, tmp_path / 'run', 1, 2, 3)
  for step in (2, 3):
    shutil.rmtree(pathlib.Path(part.workdir, 'checkpoints', str(step), 'model'))
  assert _watch(part, output) == [1]
  assert 'skipping checkpoint 2' in caplog.text


def test_other_results_are_not_overwritten(run, output):
  _watch(run, output)
  path = path_of(output, 1)
  before = path.read_text()
  for options in ({'references': 2}, {'baselines': True}):
    with pytest.raises(InputError, match='other options'):
      _watch(run, output, **options)
  fields = json.loads(before)
  fields['provenance']['config_sha256'] = 'another'
  path.write_text(json.dumps(fields))
  with pytest.raises(InputError, match='results of another run'):
    _watch(run, output)
  assert json.loads(path.read_text()) == fields


def test_images_of_each_step_have_a_folder(run, tmp_path, output):
  folder = tmp_path / 'pictures'
  _watch(run, output, pictures=folder)
  for step in (1, 2, 3):
    assert len(list((folder / f'{step:08d}' / 'result').iterdir())) == 9


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'batch_size': 0}, '--batch-size'),
    ({'references': 0}, '--references'),
    ({'timeout': -1}, '--timeout'),
    ({'timeout': float('nan')}, '--timeout'),
    ({'output': 'results.csv'}, '--output'),
    ({'output': 'new/results.json/results.json'}, '--output|cannot write'),
    ({'real_statistics': 'results.npz'}, 'would be overwritten'),
    ({'real_statistics': '.'}, '--real-statistics'),
  ],
)
def test_wrong_options_are_refused_before_the_run_starts(
  tmp_path, monkeypatch, options, message
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'new').mkdir()
  (tmp_path / 'new' / 'results.json').write_text('')
  wanted = {'output': 'results.json'} | options
  with pytest.raises(InputError, match=message):
    next(watch('none', 'none', **wanted))
  assert len(list(tmp_path.rglob('*'))) == 2


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--watch', '--step', '3'], 'exclude each other'),
    (['--timeout', '3'], '--timeout is for --watch'),
  ],
)
def test_flags_that_exclude_each_other(run, output, capsys, flags, message):
  command = [
    *('evaluate', '--workdir', run.workdir, '--data-dir', run.data_dir),
    *('--output', str(output), *flags),
  ]
  assert cli.main(command) == 2
  assert message in capsys.readouterr().err
  assert not output.parent.exists()


def test_a_compressor_is_watched_whatever_the_options(
  make_config, tmp_path, output
):
  config = make_config(
    'compressor',
    tmp_path / 'run',
    resolution=32,
    steps=2,
    checkpoint_every=1,
  )
  train(config)
  assert _watch(config, output, baselines=True) == [1, 2]
  assert _watch(config, output, baselines=True) == []
