"""Following a run: each checkpoint once, whatever happens in between."""

import dataclasses
import json
import pathlib
import shutil
import sys
import threading

import pytest

from exgan_jax import cli
from exgan_jax import config as config_lib
from exgan_jax.errors import InputError
from exgan_jax.evaluation import evaluator as evaluator_lib
from exgan_jax.evaluation.api import path_of, watch
from exgan_jax.training.loop import train

# `exgan_jax.evaluate` is the function.
watch_lib = sys.modules['exgan_jax.evaluation.api']


@pytest.fixture(scope='module')
def run(synth_data, tmp_path_factory):
  """A run of three checkpoints, and another one of its steps."""
  config = config_lib.make(
    'gan', 'tiny', dataset='synth_id', data_dir=synth_data,
    workdir=str(tmp_path_factory.mktemp('run')), resolution=32, batch_size=4,
    generator_width=4, discriminator_width=4, dilations=2, steps=3,
    checkpoint_every=1, reader_threads=2,
  )  # fmt: skip
  train(config)
  return config


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
  monkeypatch.setattr(watch_lib, 'SECONDS', 0.05)


@pytest.fixture
def evaluated(monkeypatch):
  """The steps that were evaluated, not only looked up."""
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
  """Copies a run with only some of its checkpoints, or adds them."""
  folder = pathlib.Path(folder)
  (folder / 'checkpoints').mkdir(parents=True, exist_ok=True)
  shutil.copy(pathlib.Path(run.workdir, 'config.json'), folder)
  for step in steps:
    source = pathlib.Path(run.workdir, 'checkpoints', str(step))
    shutil.copytree(source, folder / 'checkpoints' / str(step))
  return dataclasses.replace(run, workdir=str(folder))


def test_each_checkpoint_once_and_to_the_end(run, tmp_path, evaluated):
  output = tmp_path / 'new' / 'results.json'
  assert _watch(run, output) == [1, 2, 3]
  names = {
    path.name for path in output.parent.iterdir() if path.suffix == '.json'
  }
  assert names == {'results.json'} | {
    f'results-0000000{step}.json' for step in (1, 2, 3)
  }
  assert json.loads(output.read_text())['step'] == 3
  # Started again, nothing is left to do.
  assert _watch(run, output) == [] and evaluated == [1, 2, 3]


def test_goes_on_where_it_was_stopped(run, tmp_path, evaluated):
  output = tmp_path / 'results.json'
  following = watch(run.workdir, run.data_dir, output, batch_size=16)
  assert next(following).step == 1
  following.close()
  assert _watch(run, output) == [2, 3] and evaluated == [1, 2, 3]


def test_waits_for_a_run_that_has_not_begun(run, tmp_path):
  workdir = tmp_path / 'later'
  late = dataclasses.replace(run, workdir=str(workdir))
  timer = threading.Timer(0.3, _grow, (run, workdir, 1, 3))
  timer.start()
  assert _watch(late, tmp_path / 'results.json') == [1, 3]
  timer.join(60)


def test_a_run_that_stays_away_ends_the_wait(run, tmp_path):
  unfinished = _grow(run, tmp_path / 'run', 1)
  output = tmp_path / 'results.json'
  with pytest.raises(InputError, match=r'no new checkpoint in .* for 0\.2 s'):
    _watch(unfinished, output, timeout=0.2)
  assert path_of(output, 1).is_file()


def test_what_is_half_written_is_tried_again(run, tmp_path, monkeypatch):
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
  assert _watch(part, tmp_path / 'results.json') == [1, 3]
  assert tried == [1, 1, 3]


def test_what_stays_damaged_is_left_out(run, tmp_path, caplog):
  part = _grow(run, tmp_path / 'run', 1, 2, 3)
  for step in (2, 3):
    shutil.rmtree(pathlib.Path(part.workdir, 'checkpoints', str(step), 'model'))
  assert _watch(part, tmp_path / 'results.json') == [1]
  assert 'skipping checkpoint 2' in caplog.text


def test_results_of_something_else_are_not_written_over(run, tmp_path):
  output = tmp_path / 'results.json'
  path = path_of(output, 1)
  assert _watch(run, output) == [1, 2, 3]
  fields = json.loads(path.read_text())
  fields['provenance']['config_sha256'] = 'another'
  path.write_text(json.dumps(fields))
  with pytest.raises(InputError, match='results of another run'):
    _watch(run, output)
  assert json.loads(path.read_text()) == fields


@pytest.mark.parametrize(
  'options', [{'references': 2}, {'baselines': True}, {'split': 'validation'}]
)
def test_results_made_in_another_way_are_not_taken(run, tmp_path, options):
  output = tmp_path / 'results.json'
  assert _watch(run, output) == [1, 2, 3]
  with pytest.raises(InputError, match='other options'):
    _watch(run, output, **options)


def test_the_newest_results_are_under_the_plain_name(run, tmp_path):
  output = tmp_path / 'results.json'
  assert _watch(run, output) == [1, 2, 3]
  before = {path: path.read_bytes() for path in tmp_path.glob('results.*')}
  assert len(before) == 4
  for path in before:
    path.unlink()
  assert _watch(run, output) == []
  assert {path: path.read_bytes() for path in before} == before


def test_pictures_of_each_step_have_a_folder(run, tmp_path):
  folder = tmp_path / 'pictures'
  _watch(run, tmp_path / 'results.json', pictures=folder)
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
def test_wrong_options_are_refused_before_the_run_begins(
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
def test_flags_that_do_not_go_together(run, tmp_path, capsys, flags, message):
  command = [
    *('evaluate', '--workdir', run.workdir, '--data-dir', run.data_dir),
    *('--output', str(tmp_path / 'results.json'), *flags),
  ]
  assert cli.main(command) == 2
  assert message in capsys.readouterr().err
  assert list(tmp_path.iterdir()) == []


def test_a_compressor_is_followed_too_whatever_is_asked(run, tmp_path):
  config = config_lib.make(
    'compressor', 'tiny', dataset='synth_id', data_dir=run.data_dir,
    workdir=str(tmp_path / 'run'), resolution=32, batch_size=4,
    compressor_width=4, steps=2, checkpoint_every=1, reader_threads=2,
  )  # fmt: skip
  train(config)
  output = tmp_path / 'results.json'
  assert _watch(config, output, baselines=True) == [1, 2]
