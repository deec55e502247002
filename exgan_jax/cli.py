"""The command line: parses flags and calls one function per subcommand."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import io
import logging
import os
import pathlib
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn, get_args, get_type_hints

import exgan_jax
from exgan_jax import cli_photos
from exgan_jax import config as config_lib
from exgan_jax.errors import InputError
from exgan_jax.runtime import processes

# Faults of a shared disk that may be over when the command is started again.
_PASSING = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT)
# What the extra `train` installs; `google` is protobuf.
_TRAINING_PACKAGES = (
  'array_record', 'google', 'grain', 'jinja2', 'matplotlib', 'optax',
  'orbax', 'tensorboardX',
)  # fmt: skip
# Of a planned batch, where nothing is said.
PICTURES_PER_CHIP = 16
# Fields that do not affect the step; `plan` has its own default batch size.
_NOT_PLANNED = config_lib.FREE_TO_CHANGE - {'fsdp'} | {
  'batch_size', 'dataset', 'seed', 'warmup_steps',
}  # fmt: skip
_NOT_BENCHED = _NOT_PLANNED - {
  'batch_size', 'data_dir', 'dataset', 'reader_threads', 'seed',
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a command and returns its exit code: 2 for input it cannot use."""
  for stream in (sys.stdout, sys.stderr):
    # File names may hold bytes that the terminal's encoding does not have.
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors='backslashreplace')
  logging.basicConfig(
    level=logging.WARNING, format='exgan: %(message)s', force=True
  )
  logging.getLogger('exgan_jax').setLevel(logging.INFO)
  # They print the tracebacks of errors that are raised, and reported, anyway.
  for library in ('absl', 'asyncio'):
    logging.getLogger(library).setLevel(logging.CRITICAL)
  arguments = vars(_parser().parse_args(argv))
  run = arguments.pop('run')
  try:
    run(**arguments)
  except InputError as error:
    print(f'exgan: {error}', file=sys.stderr)
    return 2
  except processes.PreemptedError as error:
    print(f'exgan: {error}', file=sys.stderr)
    return processes.PREEMPTED
  except ImportError as error:
    print(f'exgan: {_missing_library(error)}', file=sys.stderr)
    return 2
  except OSError as error:
    what = f'{error.filename}: ' if error.filename else ''
    print(f'exgan: {what}{error.strerror or error}', file=sys.stderr)
    return 1 if error.errno in _PASSING else 2
  except KeyboardInterrupt:
    return processes.INTERRUPTED
  except Exception as error:
    if unavailable := _missing_platform():
      print(f'exgan: {unavailable}', file=sys.stderr)
      return 2
    if not processes.is_loss(error):
      raise
    reason = processes.first_line(error)
    print(f'exgan: another process was lost: {reason}', file=sys.stderr)
    return processes.LOST
  return 0


def _missing_library(error: ImportError) -> str:
  """How to install what could not be imported.

  Raises:
    ImportError: the error, if it is none of the optional libraries.
  """
  package = (error.name or '').split('.')[0]
  if package in _TRAINING_PACKAGES:
    return f"this needs {package}: pip install 'exgan_jax[train]'"
  if 'cannot open shared object file' in str(error):  # OpenCV's libGL.so.1.
    return (
      f'{error}; install the system library (Debian and Ubuntu: apt-get '
      'install libgl1 libglib2.0-0)'
    )
  raise error


def _missing_platform() -> str | None:
  """What to say if JAX cannot start on the platform that was asked for."""
  named, jax = os.environ.get('JAX_PLATFORMS'), sys.modules.get('jax')
  if not named or jax is None:
    return None
  try:
    jax.devices()
  except Exception:  # Of a missing plug-in JAX raises an AssertionError.
    return (
      f'JAX cannot start on JAX_PLATFORMS={named}: install its plug-in (such '
      "as 'exgan_jax[cuda]'), or unset JAX_PLATFORMS"
    )
  return None


def _train(**fields) -> None:
  from exgan_jax.training.loop import train

  cluster = _take_cluster(fields)
  config = config_lib.make(**fields)
  _start(cluster)
  train(config)


def _evaluate(blinks: str | None, **arguments) -> None:
  cluster = _take_cluster(arguments)
  if blinks is not None:
    if cluster != processes.Cluster():
      raise InputError('--blinks runs in one process')
    _evaluate_blinks(blinks, **arguments)
    return
  for name in ('workdir', 'data_dir'):
    if arguments[name] is None:
      raise InputError(f'--{config_lib.flag(name)} or --blinks is required')
  _start(cluster)
  with processes.ends_at_once():
    _evaluate_here(**arguments)


def _evaluate_blinks(blinks: str, output: str, **options) -> None:
  from exgan_jax.evaluation.blinks import evaluate_blinks
  from exgan_jax.evaluation.results import format_table
  from exgan_jax.runtime import compilation

  used = ('workdir', 'step', 'lpips', 'pictures', 'face_landmarker')
  kept = {name: options.pop(name) for name in used}
  kept['face_landmarker'] = _default_landmarker(kept['face_landmarker'])
  _check_unused('--blinks', options)
  compilation.enable_cache()
  print(format_table(evaluate_blinks(blinks, output=output, **kept)))
  print(f'results: {output}')


def _default_landmarker(path: str | None) -> str | None:
  """The bundle for blinks, which need one: `download` is their default."""
  return None if path == 'download' else path


def _check_unused(why: str, others: dict) -> None:
  """Refuses options that have no meaning with another one."""
  from exgan_jax.evaluation.options import Options

  for name, value in others.items():
    if value and value != getattr(Options, name, None):
      raise InputError(f'--{config_lib.flag(name)} is not for {why}')


def _take_cluster(arguments: dict) -> processes.Cluster:
  names = {field.name for field in dataclasses.fields(processes.Cluster)}
  given = {name: arguments.pop(name) for name in names & arguments.keys()}
  return processes.Cluster(**given)


def _start(cluster: processes.Cluster) -> None:
  """Connects the processes; only the first one logs progress."""
  from exgan_jax.runtime import compilation

  compilation.enable_cache()
  if cluster.started() and not processes.is_first():
    logging.getLogger('exgan_jax').setLevel(logging.ERROR)


def _evaluate_here(
  output: str, follow: bool, timeout: float | None, **options
) -> None:
  from exgan_jax.evaluation.api import evaluate, path_of, watch
  from exgan_jax.evaluation.results import format_table

  path = pathlib.Path(output)
  if not follow:
    if timeout is not None:
      raise InputError('--timeout is for --watch')
    results = evaluate(output=output, **options)
    print(format_table(results))
    print(f'results: {output}\npicture: {path.with_suffix(".png")}')
    return
  if options.pop('step') is not None:
    raise InputError('--step and --watch exclude each other')
  for results in watch(output=output, timeout=timeout, **options):
    print(format_table(results), flush=True)
    print(f'results: {path_of(output, results.step)}', flush=True)


def _score(originals: str, results: str, output: str, **options) -> None:
  from exgan_jax.evaluation.blink_frames import PAIRS
  from exgan_jax.evaluation.folders import score
  from exgan_jax.evaluation.results import format_score
  from exgan_jax.runtime import compilation

  compilation.enable_cache()
  if pathlib.Path(originals, PAIRS).is_file():
    from exgan_jax.evaluation.blinks import score_blinks

    kept = {name: options.pop(name) for name in ('method', 'lpips')}
    landmarker = _default_landmarker(options.pop('face_landmarker'))
    _check_unused('a folder of blinks', options)
    found = score_blinks(
      originals, results, output=output, face_landmarker=landmarker, **kept
    )
  else:
    found = score(originals, results, output=output, **options)
  print(format_score(found))
  print(f'results: {output}')


def _report(results: list[str], output: str, blind: str | None) -> None:
  from exgan_jax.report.blind import write_page
  from exgan_jax.report.write import PAGE, write_report

  if not results and blind is None:
    raise InputError('name files of results, or a folder with --blind')
  if results:
    print(write_report(results, output))
    print(f'page: {pathlib.Path(output) / PAGE}')
  if blind is not None:
    print(f'page to answer: {write_page(blind, output)}')


def _data(sheet: str | None, **options) -> None:
  from exgan_jax.data.summary import overview

  print(overview(sheet_path=sheet, **options))
  if sheet:
    print(f'picture: {sheet}')


def _pack(**options) -> None:
  from exgan_jax.face_records.pack import pack

  print(f'data set: {pack(**options)}')


def _plan(
  topology: str, batch_size: int | None, output: str | None, sweep: list[int],
  images: int | None, complete: bool, **fields,
) -> None:  # fmt: skip
  from exgan_jax.perf import tpus
  from exgan_jax.perf.plan import plan
  from exgan_jax.perf.plan_report import format_plan

  if batch_size is None:
    batch_size = PICTURES_PER_CHIP * tpus.parse(topology)[1]
  found = plan(
    config_lib.make(batch_size=batch_size, **fields), topology,
    complete=complete, images=images, sweep=sweep, output=output,
  )  # fmt: skip
  print(format_plan(found))
  if output:
    print(f'plan: {output}')


def _bench(output: str | None, seconds: float, profile: str | None, **fields):
  from exgan_jax.perf.bench import bench
  from exgan_jax.perf.bench_report import format_bench

  config = config_lib.make(**fields)
  found = bench(config, seconds=seconds, profile=profile, output=output)
  print(format_bench(found))
  if profile:
    print(f'trace: {profile}')
  if output:
    print(f'figures: {output}')


class _Parser(argparse.ArgumentParser):
  def error(self, message: str) -> NoReturn:
    """Ends the program with one line instead of the whole usage."""
    self.exit(2, f'{self.prog}: {message} (see --help)\n')


def _parser() -> argparse.ArgumentParser:
  parser = _Parser(
    'exgan',
    description='Open eyes in photos, and train and evaluate'
    ' the models that do it.',
  )
  parser.add_argument(
    '--version', action='version', version=exgan_jax.__version__
  )
  commands = parser.add_subparsers(required=True, metavar='command')

  train = commands.add_parser('train', help='train a model, or resume a run')
  train.set_defaults(run=_train)
  hints = get_type_hints(config_lib.Config)
  for field in dataclasses.fields(config_lib.Config):
    _add_field(train, field, hints[field.name])
  _add_cluster(train)

  evaluate = commands.add_parser(
    'evaluate', help="evaluate a checkpoint with the paper's protocol"
  )
  evaluate.set_defaults(run=_evaluate)
  add = evaluate.add_argument
  add('--workdir', help='folder of the run')
  add('--data-dir', help='folder that holds the built data sets')
  add(
    '--blinks', metavar='DIR',
    help='evaluate `exgan inpaint` on a folder of real blinks instead'
    ' (without --workdir: the model inside the package)',
  )  # fmt: skip
  add(
    '--split', default='test',
    choices=('train', 'validation', 'test', 'closed'),
    help='which pictures to in-paint (default: test)',
  )  # fmt: skip
  add('--step', type=int, help='step of the checkpoint (default: the newest)')
  add('--baselines', action='store_true', help='also evaluate the baselines')
  add(
    '--references',
    type=int,
    default=1,
    help='reference images per picture, combined (default: 1)',
  )
  add('--compressor', help='workdir of a compressor, for the code metrics')
  _add_networks(evaluate)
  add(
    '--real-statistics', metavar='FILE',
    help='keep the Inception features of the originals in this file'
    " (default: in the user's cache)",
  )  # fmt: skip
  add(
    '--pictures',
    metavar='DIR',
    help='write every picture as PNG to this folder',
  )
  add(
    '--batch-size',
    type=int,
    default=32,
    help='pictures per batch (default: 32)',
  )
  add(
    '--output', required=True,
    help='results.json to write; a .png, .npz and .csv are written beside it',
  )  # fmt: skip
  add(
    '--watch', dest='follow', action='store_true',
    help='evaluate every new checkpoint until the last step of the run',
  )  # fmt: skip
  add(
    '--timeout',
    type=float,
    help='seconds to wait for the next checkpoint (with --watch)',
  )
  _add_cluster(evaluate)

  score = commands.add_parser(
    'score', help='compare a folder of results with the original pictures'
  )
  score.set_defaults(run=_score)
  add = score.add_argument
  add('originals', help='folder of the original pictures, or of blinks')
  add('results', help='folder of results with the same file names')
  add('--masks', help='folder of mask images, white inside the hole')
  add(
    '--method', help="the method's name in tables (default: its folder's name)"
  )
  _add_networks(score)
  add(
    '--batch-size',
    type=int,
    default=32,
    help='pictures per batch (default: 32)',
  )
  add(
    '--output', required=True,
    help='score.json to write; a .csv is written beside it',
  )  # fmt: skip

  data = commands.add_parser('data', help='summarize a built data set')
  data.set_defaults(run=_data)
  data.add_argument('--dataset', required=True, help='name of the data set')
  data.add_argument(
    '--data-dir', required=True, help='folder that holds the built data sets'
  )
  data.add_argument(
    '--sheet', help='PNG to write: some faces with their eye boxes'
  )

  pack = commands.add_parser(
    'pack', help='copy a built data set at a smaller resolution'
  )
  pack.set_defaults(run=_pack)
  add = pack.add_argument
  add('--data-dir', required=True, help='folder that holds the built data sets')
  add('--dataset', required=True, help='name of the data set')
  add(
    '--resolution', type=int, required=True,
    help='side of the pictures in pixels',
  )  # fmt: skip
  add(
    '--pixels', action='store_true',
    help='store raw pixels instead of JPEG: larger, faster to read',
  )  # fmt: skip
  add(
    '--output',
    required=True,
    help='folder to write; use it as --data-dir afterwards',
  )

  report = commands.add_parser(
    'report', help='write tables, figures and an HTML page from results'
  )
  report.set_defaults(run=_report)
  report.add_argument(
    'results', nargs='*',
    help='results.json and score.json files, and answers of a blind choice',
  )  # fmt: skip
  report.add_argument(
    '--blind', metavar='DIR',
    help='write a page that asks people which pictures are painted, of those'
    ' that `exgan evaluate --pictures DIR` wrote',
  )  # fmt: skip
  report.add_argument('--output', required=True, help='folder to write')

  plan = commands.add_parser(
    'plan', help='compile the training step for TPUs you do not have yet'
  )
  plan.set_defaults(run=_plan)
  add = plan.add_argument
  add(
    '--topology', required=True,
    help='the TPU slice, such as v5e:16x16, v6e:8x8 or v5p:4x4x4',
  )  # fmt: skip
  add(
    '--batch-size', type=int,
    help='pictures per step over all chips'
    f' (default: {PICTURES_PER_CHIP} per chip)',
  )  # fmt: skip
  add(
    '--images',
    type=int,
    help='estimate the time to train on this many pictures',
  )
  add(
    '--sweep', type=_numbers, default=[], metavar='N,N,...',
    help='also plan for these numbers of chips, with the same batch per chip',
  )  # fmt: skip
  add(
    '--complete', action='store_true',
    help="also generate machine code, for the compiler's own time estimate"
    ' (takes many minutes)',
  )  # fmt: skip
  add('--output', help='plan.json to write')
  for field in dataclasses.fields(config_lib.Config):
    if field.name not in _NOT_PLANNED:
      _add_field(plan, field, hints[field.name])

  bench = commands.add_parser(
    'bench', help='measure training speed on this machine'
  )
  bench.set_defaults(run=_bench)
  add = bench.add_argument
  add(
    '--seconds', type=float, default=10.0,
    help='how long to measure each rate (default: 10)',
  )  # fmt: skip
  add(
    '--profile',
    metavar='DIR',
    help='write a trace of a few steps to this folder',
  )
  add('--output', help='bench.json to write')
  for field in dataclasses.fields(config_lib.Config):
    if field.name not in _NOT_BENCHED:
      _add_field(bench, field, hints[field.name], required=())
  cli_photos.add_commands(commands)
  return parser


def _numbers(text: str) -> list[int]:
  try:
    return [int(number) for number in text.split(',')]
  except ValueError as error:
    raise argparse.ArgumentTypeError(f'{text!r} is not like 4,16,64') from error


def _add_cluster(parser: argparse.ArgumentParser) -> None:
  group = parser.add_argument_group('multiple processes')
  for field in dataclasses.fields(processes.Cluster):
    _add_field(group, field, get_type_hints(processes.Cluster)[field.name])


def _add_networks(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--lpips', metavar='FILE', help='LPIPS weights (.npz), for LPIPS'
  )
  parser.add_argument(
    '--face-landmarker', metavar='FILE',
    help="MediaPipe's face landmark bundle, or `download`, for geometry and"
    ' color (blinks need it: the default is then `download`)',
  )  # fmt: skip
  parser.add_argument(
    '--face-embedding', metavar='FILE',
    help='a face recognition network (ONNX), for identity',
  )  # fmt: skip
  parser.add_argument(
    '--inception', metavar='PATH',
    help='the published Inception weights, or `download` to fetch them once',
  )  # fmt: skip
  parser.add_argument(
    '--unverified-inception', metavar='PATH',
    help='any weights in that layout; the metrics are then named differently',
  )  # fmt: skip


def _add_field(
  parser: argparse._ActionsContainer,
  field: dataclasses.Field,
  hint: type,
  required: Sequence[str] = ('data_dir', 'workdir'),
) -> None:
  if hint is bool:
    parser.add_argument(
      f'--{config_lib.flag(field.name)}',
      dest=field.name,
      action=argparse.BooleanOptionalAction,
      default=argparse.SUPPRESS,
      help=field.metadata['help'] + _default_text(field),
    )
    return
  choices = get_args(hint) or None
  # Defaults are left to the configuration: a preset or a size may set them.
  parser.add_argument(
    f'--{config_lib.flag(field.name)}',
    dest=field.name,
    type=str if choices else hint,
    choices=choices,
    default=argparse.SUPPRESS,
    required=field.name in required,
    metavar=None if choices else hint.__name__.upper(),
    help=field.metadata['help'] + _default_text(field),
  )


def _default_text(field: dataclasses.Field) -> str:
  by_size = any(field.name in values for values in config_lib.SIZES.values())
  by_preset = any(
    field.name in values for values in config_lib.PRESETS.values()
  )
  if by_size or by_preset:
    return f' (default: set by --{"size" if by_size else "preset"})'
  return '' if field.default == '' else f' (default: {field.default})'


def run() -> None:
  """Entry point of the console script."""
  try:
    code = main()
  except Exception:
    # The others must not wait for what this process will never do.
    traceback.print_exc()
    code = 1
  processes.leave(code)


if __name__ == '__main__':
  run()
