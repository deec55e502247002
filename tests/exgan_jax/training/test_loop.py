"""The training loop on a small configuration."""

import dataclasses
import fcntl
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from exgan_jax import config as config_lib
from exgan_jax.data import eval_batches, train_batches
from exgan_jax.errors import InputError
from exgan_jax.runtime import sharding
from exgan_jax.training.checkpoint import FOLDER, Checkpoints, steps_of
from exgan_jax.training.loop import SampleSheets, _run, train
from exgan_jax.training.metric_writer import MetricWriter
from exgan_jax.training.state import check_memory
from tfds_celeb_id import synth_id


@pytest.fixture(scope='module')
def config(synth_data, tmp_path_factory):
  return config_lib.make(
    'reference',
    'tiny',
    **{'dataset': 'synth_id', 'data_dir': synth_data, 'reader_threads': 2},
    **{'generator_width': 4, 'discriminator_width': 4, 'dilations': 2},
    **{'resolution': 32, 'batch_size': 4, 'steps': 12, 'log_every': 3},
    **{'checkpoint_every': 4, 'checkpoints_to_keep': 2, 'sample_every': 6},
    **{'gradient_penalty_every': 2},
    workdir=str(tmp_path_factory.mktemp('runs') / 'whole'),
  )


@pytest.fixture(scope='module')
def whole(config):
  """The state of a complete run."""
  return train(config)


def _assert_equal(state, other):
  for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True):
    np.testing.assert_array_equal(a, b)


def _copy(config, tmp_path, **fields):
  shutil.copytree(config.workdir, tmp_path / 'copy')
  return dataclasses.replace(config, workdir=str(tmp_path / 'copy'), **fields)


def _lines(workdir):
  text = (pathlib.Path(workdir) / 'metrics.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def test_files_of_a_run(config, whole):
  workdir = pathlib.Path(config.workdir)
  assert int(whole.step) == 12
  assert config_lib.load(workdir / 'config.json') == config
  assert {path.name for path in (workdir / FOLDER).iterdir()} == {'8', '12'}
  lines = _lines(workdir)
  assert [line['step'] for line in lines] == [3, 6, 9, 12]
  for line in lines:
    assert line['images_per_second'] > 0
    assert np.isfinite(list(line.values())).all()
    assert ('gradient_penalty' in line) == (line['step'] % 2 == 0)
  assert list((workdir / 'events').iterdir())
  for step in (6, 12):
    path = workdir / 'samples' / f'step_{step:08d}.png'
    with Image.open(path) as sheet:
      assert sheet.size[0] > 4 * 128


def test_training_reduces_the_error(config, whole, tmp_path):
  longer = _copy(config, tmp_path, steps=60, log_every=6)
  train(longer)
  errors = [line['l1_hole'] for line in _lines(longer.workdir)]
  assert np.mean(errors[-3:]) < 0.9 * np.mean(errors[:3])


def test_the_warm_up_uses_no_discriminator(config, tmp_path):
  warmed = dataclasses.replace(
    config, workdir=str(tmp_path / 'warmed'), warmup_steps=6
  )
  train(warmed)
  lines = _lines(warmed.workdir)
  assert [line['step'] for line in lines] == [3, 6, 9, 12]
  played = ['discriminator_loss' in line for line in lines]
  assert played == [False, False, True, True]


def test_repeating_a_finished_run_changes_nothing(config, whole):
  before = _lines(config.workdir)
  _assert_equal(train(config), whole)
  assert _lines(config.workdir) == before


def test_a_resumed_run_is_bitwise_equal(config, whole, tmp_path):
  cut = _copy(config, tmp_path)
  shutil.rmtree(pathlib.Path(cut.workdir, FOLDER, '12'))
  # A killed process leaves an incomplete line and an incomplete checkpoint.
  with pathlib.Path(cut.workdir, 'metrics.jsonl').open('a') as file:
    file.write('{"step": 13, "l1_')
  begun = pathlib.Path(cut.workdir, FOLDER, '12.orbax-checkpoint-tmp')
  begun.mkdir()
  (begun / 'd').write_bytes(b'half')
  _assert_equal(train(cut), whole)
  lines, expected = _lines(cut.workdir), _lines(config.workdir)
  for line in (*lines, *expected):
    line.pop('images_per_second', None)
    line.pop('input_wait_fraction', None)
  assert lines == expected


# Threads of Orbax fail with the read.
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize(
  'damage', ['empty folder', 'no metadata', 'truncated file', 'no position']
)
def test_a_damaged_checkpoint_is_skipped(config, whole, tmp_path, damage):
  cut = _copy(config, tmp_path)
  newest = pathlib.Path(cut.workdir, FOLDER, '12')
  if damage == 'empty folder':
    shutil.rmtree(newest)
    newest.mkdir()
  elif damage == 'no metadata':
    (newest / '_CHECKPOINT_METADATA').unlink()
    for path in newest.glob('*/_METADATA'):
      path.unlink()
  elif damage == 'truncated file':
    for path in (newest / 'state').rglob('d/*'):
      path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  else:
    shutil.rmtree(newest / 'data')
  _assert_equal(train(cut), whole)
  with Checkpoints(cut.workdir) as checkpoints:
    mesh = sharding.make_mesh(4)
    restored = checkpoints.restore(cut, mesh)
  _assert_equal(restored[0], whole)


def test_a_checkpoint_with_removed_fields_is_restored(config, whole, tmp_path):
  """Version 0.2 and earlier stored empty lists beside the arrays."""
  cut = _copy(config, tmp_path)
  shutil.rmtree(pathlib.Path(cut.workdir, FOLDER, '12'))
  parts = {
    'state': vars(whole) | {'generator_statistics': []},
    'model': {'generator': whole.average, 'encoder': {}, 'statistics': []},
    'data': {'records': 'x'},
  }
  mesh = sharding.make_mesh(4)
  with Checkpoints(cut.workdir, keep=2) as checkpoints:
    checkpoints._checkpointer.save_checkpointables(12, parts, force=True)
  with Checkpoints(cut.workdir) as checkpoints:
    state, data = checkpoints.restore(cut, mesh)
    step, model = checkpoints.restore_model(cut, mesh)
  _assert_equal(state, whole)
  _assert_equal(model.generator, whole.average)
  assert step == 12 and data == {'records': 'x'}


@pytest.mark.parametrize(
  'position',
  ['null', '[1]', '{}', '{"iterator": {"next_index": "x"}, "records": ""}'],
)
def test_a_damaged_data_position_is_refused(config, whole, tmp_path, position):
  cut = _copy(config, tmp_path, steps=16)
  path = pathlib.Path(cut.workdir, FOLDER, '12', 'data', 'data.json')
  assert json.loads(path.read_text())['iterator']
  path.write_text(position)
  with pytest.raises(InputError, match='position in the checkpoint'):
    train(cut)


def test_other_records_are_refused(config, whole, tmp_path):
  synth_id.Builder(
    data_dir=str(tmp_path / 'other'), people=4, pictures=2, workers=0
  ).download_and_prepare()
  other = _copy(config, tmp_path, data_dir=str(tmp_path / 'other'), steps=16)
  with pytest.raises(InputError, match='not those that the run'):
    train(other)


def test_a_workdir_in_use_or_of_another_run_is_refused(config, whole, tmp_path):
  copy = _copy(config, tmp_path, steps=16)
  before = pathlib.Path(copy.workdir, 'config.json').read_text()
  with pathlib.Path(copy.workdir, 'lock').open('w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(InputError, match='another process'):
      train(copy)
  with pytest.raises(InputError, match='--adversarial-weight'):
    train(dataclasses.replace(copy, adversarial_weight=0.5))
  assert pathlib.Path(copy.workdir, 'config.json').read_text() == before
  (tmp_path / 'file').write_text('')
  with pytest.raises(InputError, match='cannot write'):
    train(dataclasses.replace(config, workdir=str(tmp_path / 'file' / 'w')))


def test_samples_show_different_people(config, monkeypatch):
  shown = []
  evaluation_batches = eval_batches.evaluation_batches

  def watched(records, *args, positions, **kwargs):
    shown[:] = eval_batches.listing(records, positions).identities
    return evaluation_batches(records, *args, positions=positions, **kwargs)

  monkeypatch.setattr(eval_batches, 'evaluation_batches', watched)
  # `validation` has one person here, `test` has three.
  records = train_batches.Records(config.data_dir, 'synth_id', 'test')
  SampleSheets(
    config,
    sharding.make_mesh(4),
    pathlib.Path(config.workdir),
    *(records, 'test'),
  )
  assert len(shown) == 8
  assert len(set(shown)) == 3


def test_a_non_finite_loss_stops_the_run(config, whole, tmp_path):
  wild = dataclasses.replace(
    config,
    workdir=str(tmp_path / 'wild'),
    steps=40,
    generator_learning_rate=1e30,
  )
  with pytest.raises(InputError, match='at step') as caught:
    train(wild)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('way', ['no room', 'an error while writing'])
def test_a_full_disk_only_fails_the_last_checkpoint(
  config, whole, tmp_path, monkeypatch, caplog, way
):
  fails_at = {8}
  save, usage = Checkpoints.save, shutil.disk_usage
  step_now = []

  def watched_save(self, state, data, step):
    step_now[:] = [step]
    if way != 'no room' and step in fails_at:
      self._checkpointer.save_checkpointables_async = fail
    save(self, state, data, step)

  def fail(*_, **__):
    raise ValueError("RESOURCE_EXHAUSTED: [os_error_code='28']")

  def full(folder):
    return usage(folder)._replace(free=0 if step_now[0] in fails_at else 2**40)

  monkeypatch.setattr(Checkpoints, 'save', watched_save)
  if way == 'no room':
    monkeypatch.setattr(shutil, 'disk_usage', full)
  run = dataclasses.replace(config, workdir=str(tmp_path / 'run'))
  _assert_equal(train(run), whole)
  assert steps_of(run.workdir) == [4, 12]
  assert 'No space left on device' in caplog.text
  fails_at.add(16)
  with pytest.raises(InputError, match='cannot write'):
    train(dataclasses.replace(run, steps=16))
  assert steps_of(run.workdir) == [4, 12]


@pytest.mark.parametrize(
  'name', ['a[b]', 'a*b?', 'a#b%41', 'ü a', 'x/../y', f'{"l" * 200}/' * 4]
)
def test_a_workdir_may_have_any_name(
  config, whole, tmp_path, monkeypatch, name
):
  (tmp_path / 'x').mkdir()
  monkeypatch.chdir(tmp_path)
  workdir, mesh = pathlib.Path(name, 'run'), sharding.make_mesh(4)
  workdir.mkdir(parents=True)
  # As a pattern, the name of ours is that of this one, too.
  shutil.copytree(config.workdir, 'aXb?/run', dirs_exist_ok=True)
  before = sorted(pathlib.Path('aXb?').rglob('*'))
  for step in (12, 12):
    with Checkpoints(workdir, keep=1) as checkpoints:
      if not steps_of(workdir):
        checkpoints.save(whole, {'records': 'x'}, step)
  assert steps_of(workdir) == [12]
  monkeypatch.chdir(tmp_path / 'x')
  with Checkpoints(tmp_path / name / 'run') as checkpoints:
    restored, _ = checkpoints.restore(config, mesh)
  _assert_equal(restored, whole)
  assert sorted(pathlib.Path('../aXb?').rglob('*')) == [
    pathlib.Path('..', path) for path in before
  ]


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize('part', ['state', 'model', 'data'])
def test_a_checkpoint_that_is_not_read_back_replaces_nothing(
  config, whole, tmp_path, part
):
  run = _copy(config, tmp_path)
  folder = pathlib.Path(run.workdir, FOLDER)
  shutil.rmtree(folder / '12')
  with (
    pytest.raises(InputError, match='not read back'),
    Checkpoints(run.workdir, keep=1) as checkpoints,
  ):
    checkpoints.save(whole, {'records': 'x'}, 12)
    checkpoints._pending[0].result()
    shutil.rmtree(folder / '12' / part)
  assert steps_of(run.workdir) == [8, 12]
  with Checkpoints(run.workdir, keep=1) as checkpoints:
    assert int(checkpoints.restore(config, sharding.make_mesh(4))[0].step) == (
      12 if part == 'model' else 8
    )
    checkpoints._damaged.add(12)
    checkpoints.save(whole, {'records': 'x'}, 12)
  assert steps_of(run.workdir) == [12]


def test_a_step_that_cannot_fit_is_refused_at_once(config, tmp_path):
  large = dataclasses.replace(
    config, workdir=str(tmp_path / 'run'), batch_size=2**20, resolution=1024,
    generator_width=512,
  )  # fmt: skip
  with pytest.raises(InputError, match=r'needs more than .* GiB, this'):
    train(large)
  assert not (tmp_path / 'run').exists()
  check_memory(config, sharding.make_mesh(4))


def test_records_that_are_removed_end_the_run(config, tmp_path):
  data = tmp_path / 'data'
  shutil.copytree(config.data_dir, data)
  run = dataclasses.replace(
    config, data_dir=str(data), workdir=str(tmp_path / 'run')
  )
  save = Checkpoints.save

  def remove(self, state, position, step):
    shutil.rmtree(data, ignore_errors=True)
    save(self, state, position, step)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Checkpoints, 'save', remove)
    with pytest.raises(InputError, match='removed during training'):
      train(run)
  assert steps_of(run.workdir) == [4]


def test_metrics_that_cannot_be_written_are_dropped(tmp_path, caplog):
  with MetricWriter(tmp_path, 0) as writer:
    writer._file.close()
    writer._file = open('/dev/full', 'w')  # noqa: SIM115
    _run([lambda: writer.write(1, {'l1': 0.5})])
  assert 'No space left on device' in caplog.text
  with pytest.raises(OSError, match='name'):
    _run([pathlib.Path('/no/such/name').stat])
