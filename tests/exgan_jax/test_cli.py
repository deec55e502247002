"""The command line: what it prints and how it ends."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import exgan_jax
from exgan_jax import cli


def _train(synth_data, workdir, *more):
  return [
    'train', '--preset', 'reference', '--size', 'tiny', '--dataset',
    'synth_id', '--data-dir', synth_data, '--workdir', str(workdir),
    '--resolution', '32', '--batch-size', '4', '--steps', '2',
    '--generator-width', '4', '--discriminator-width', '4', *more,
  ]  # fmt: skip


def test_train_then_evaluate(synth_data, tmp_path, capsys):
  assert cli.main(_train(synth_data, tmp_path / 'w')) == 0
  output = tmp_path / 'out' / 'results.json'
  assert cli.main([
    'evaluate', '--workdir', str(tmp_path / 'w'), '--data-dir', synth_data,
    '--baselines', '--batch-size', '4', '--output', str(output),
  ]) == 0  # fmt: skip
  printed = capsys.readouterr().out
  metrics = json.loads(output.read_text())['metrics']
  assert f'{metrics["l1_hole"]:.5f}' in printed
  assert str(output.with_suffix('.png')) in printed
  assert output.with_suffix('.png').exists()
  folder = tmp_path / 'report'
  assert cli.main(['report', str(output), '--output', str(folder)]) == 0
  assert '`reference`' in (folder / 'report.md').read_text()


@pytest.mark.parametrize(
  'more',
  [
    ['--resolution', '33'],
    ['--steps', '0'],
    ['--data-dir', '/nonexistent'],
    ['--dataset', 'photo_id'],
    ['--batch-size', '3'],
    ['--preset', 'code'],
    ['--lpips-weight', '1'],
  ],
)
def test_bad_input_is_one_line_and_code_2(synth_data, tmp_path, capsys, more):
  assert cli.main(_train(synth_data, tmp_path / 'w', *more)) == 2
  error = capsys.readouterr().err.strip()
  assert error.startswith('exgan: ') and '\n' not in error
  assert not (tmp_path / 'w').exists()


@pytest.mark.parametrize(
  'argv', [[], ['paint'], ['train'], ['train', '--steps', 'many']]
)
def test_a_wrong_flag_is_code_2(argv, capsys):
  with pytest.raises(SystemExit) as caught:
    cli.main(argv)
  assert caught.value.code == 2
  error = capsys.readouterr().err.strip()
  assert error.startswith('exgan') and '\n' not in error


@pytest.mark.parametrize('name', ['', '.', 'picture.png'])
def test_an_output_that_cannot_be_is_refused_before_the_work(name, capsys):
  arguments = [
    'evaluate',
    '--workdir',
    'w',
    '--data-dir',
    'd',
    '--output',
    name,
  ]
  assert cli.main(arguments) == 2
  assert '--output' in capsys.readouterr().err


def test_help_shows_every_field_with_its_default(capsys):
  with pytest.raises(SystemExit) as caught:
    cli.main(['train', '--help'])
  assert caught.value.code == 0
  text = capsys.readouterr().out
  assert '--adversarial-weight' in text and '(default: 20000)' in text


def test_training_imports_neither_tensorflow_nor_torch(synth_data, tmp_path):
  program = (
    'import sys\n'
    # TensorBoard's writer looks for it; nothing may need it.
    'sys.modules["torch"] = None\n'
    'from exgan_jax import cli\n'
    'code = cli.main(sys.argv[1:])\n'
    'assert not {"tensorflow", "mediapipe"} & set(sys.modules)\n'
    'sys.exit(code)\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', program, *_train(synth_data, tmp_path / 'w')],
    capture_output=True, text=True, timeout=300,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
  ('more', 'message'),
  [
    ([], 'no photo at'),
    (['--workdir', '/nonexistent'], 'no photo at'),
    (['--face', '0'], 'at least 1'),
  ],
)
def test_inpaint_says_what_is_wrong(tmp_path, capsys, more, message):
  output = tmp_path / 'out.png'
  argv = ['inpaint', '/none.jpg', '--reference', '/none.png', '--output']
  assert cli.main([*argv, str(output), *more]) == 2
  error = capsys.readouterr().err.strip()
  assert message in error and '\n' not in error
  assert not output.exists()


def _run(*argv, **environment):
  return subprocess.run(
    [sys.executable, *argv],
    capture_output=True,
    text=True,
    timeout=120,
    env=os.environ | environment,
  )


@pytest.mark.parametrize(
  'argv', [['--help'], ['train', '--help'], ['inpaint', '--wrong']]
)
def test_nothing_heavy_is_imported_to_parse(argv):
  program = (
    'import sys\n'
    'from exgan_jax import cli\n'
    'try:\n'
    '  cli.main(sys.argv[1:])\n'
    'except SystemExit:\n'
    '  pass\n'
    'heavy = {"jax", "flax", "optax", "orbax", "grain", "numpy", "cv2",\n'
    '         "tensorflow_datasets", "mediapipe", "matplotlib"}\n'
    'assert not heavy & set(sys.modules), heavy & set(sys.modules)\n'
  )
  done = _run('-c', program, *argv)
  assert done.returncode == 0, done.stderr


# Raises what Python raises where the packages of an extra are not installed.
_BLOCKED = """
import sys
names = set(sys.argv[1].split(','))
class Finder:
  def find_spec(self, name, path=None, target=None):
    if name.split('.')[0] in names:
      raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Finder())
from exgan_jax import cli
sys.exit(cli.main(sys.argv[2:]))
"""
_TRAINING = (
  'array_record,grain,jinja2,orbax,tensorboardX,tensorflow_datasets,google'
)


def test_eyes_are_opened_without_the_training_libraries(tmp_path, bundle):
  example = pathlib.Path(exgan_jax.__file__).parent / 'photo' / 'example'
  done = _run(
    '-c', _BLOCKED, _TRAINING, 'inpaint', str(example / 'blinked.jpg'),
    '--reference', str(example / 'open.jpg'),
    '--output', str(tmp_path / 'out.png'), '--face-landmarker', str(bundle),
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert (tmp_path / 'out.png').exists()


def test_a_missing_extra_is_named(tmp_path):
  done = _run(
    '-c', _BLOCKED, _TRAINING, 'train', '--preset', 'gan', '--data-dir', 'none',
    '--workdir', str(tmp_path / 'run'),
  )  # fmt: skip
  assert done.returncode == 2, done.stderr
  assert "pip install 'exgan_jax[train]'" in done.stderr.splitlines()[-1]


def test_version(capsys):
  with pytest.raises(SystemExit):
    cli.main(['--version'])
  assert capsys.readouterr().out.strip() == exgan_jax.__version__


def test_a_platform_without_its_plugin_is_one_line(tmp_path):
  example = pathlib.Path(exgan_jax.__file__).parent / 'photo' / 'example'
  done = _run(
    '-m',
    'exgan_jax.cli',
    'inpaint',
    str(example / 'blinked.jpg'),
    '--reference',
    str(example / 'open.jpg'),
    '--output',
    str(tmp_path / 'out.png'),
    JAX_PLATFORMS='cuda',
  )
  assert done.returncode == 2, done.stderr
  assert done.stderr.splitlines()[-1].startswith('exgan: JAX cannot start on')
  assert 'Traceback' not in done.stderr


def test_ctrl_c_skips_the_clean_up_that_crashes():
  program = (
    'import atexit, jax\n'
    'from exgan_jax.runtime import processes\n'
    'atexit.register(print, "cleaned up")\n'
    'print("before")\n'
    'processes.leave(processes.INTERRUPTED)\n'
  )
  done = _run('-c', program)
  assert done.returncode == 130, done.stderr
  assert done.stdout.split() == ['before']


def test_a_name_that_the_terminal_cannot_show_is_printed():
  done = _run(
    '-m', 'exgan_jax.cli', 'inpaint', os.fsdecode(b'caf\xe9.jpg'),
    *('--reference', 'a', '--output', 'b'), PYTHONIOENCODING='ascii:strict',
  )  # fmt: skip
  assert done.returncode == 2
  assert 'Traceback' not in done.stderr and 'caf' in done.stderr
