"""What a step asks of a pod: its memory, its arithmetic, its messages."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from exgan_jax import cli
from exgan_jax import config as config_lib
from exgan_jax.errors import InputError
from exgan_jax.perf import plan, plan_report, tpu_compiler, tpus
from exgan_jax.perf.hlo_costs import Collective
from exgan_jax.runtime import sharding
from exgan_jax.training import state, step_program

pytestmark = pytest.mark.slow

SHRUNK = {
  'size': 'tiny', 'resolution': 32, 'generator_width': 4,
  'discriminator_width': 4, 'compressor_width': 4, 'code_size': 6,
  'dilations': 2,
}  # fmt: skip
# The fields that other programs may count on.
CONTRACT = {
  'topology', 'num_devices', 'batch_size', 'fits', 'hbm_bytes',
  'bytes_per_device', 'flops_per_step', 'collectives',
  'compiler_seconds_per_step', 'roofline_seconds_per_step',
  'images_per_second_estimate',
}  # fmt: skip

# Compiles steps on a part of the devices there are, as they would be trained.
PROGRAM = """
import dataclasses, json, sys
import jax
from exgan_jax import config
from exgan_jax.perf import hlo, hlo_costs
from exgan_jax.runtime import sharding
from exgan_jax.training import step_program
found = []
for fields in json.loads(sys.argv[1]):
  count = fields.pop('devices')
  config_ = config.make(batch_size=2 * count, **fields)
  mesh = sharding.make_mesh(
    config_.batch_size, config_.fsdp, jax.devices()[:count])
  compiled = step_program.lower_step(config_, mesh).compile()
  program = hlo.parse(compiled.as_text())
  sums = [
    element
    for instructions in program.computations.values()
    for i in instructions if i.opcode.startswith('all-reduce')
    for element in hlo.elements(i.shape)]
  found.append({
    'flops': compiled.cost_analysis()['flops'], 'sums': sums,
    'collectives': [
      dataclasses.asdict(c) for c in hlo_costs.collectives(program)]})
print(json.dumps(found))
"""
RUNS = {
  'one': {'preset': 'reference', 'devices': 1},
  'two': {'preset': 'reference', 'devices': 2},
  'four': {'preset': 'reference', 'devices': 4},
  'eight': {'preset': 'reference', 'devices': 8},
  'split': {'preset': 'reference', 'devices': 8, 'fsdp': 4},
  'compressor': {'preset': 'compressor', 'devices': 8},
}
needs_libtpu = pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None,
  reason="libtpu, the TPU's compiler, is not installed",
)


@pytest.fixture(scope='module')
def on_cpus():
  """Flops of a device and messages, of steps on up to eight devices."""
  flags = '--xla_force_host_platform_device_count=8'
  runs = [SHRUNK | run for run in RUNS.values()]
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM, json.dumps(runs)],
    env=os.environ | {'XLA_FLAGS': flags},
    capture_output=True, text=True, timeout=500, check=False,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout.splitlines()[-1])
  for run in found:
    run['collectives'] = [Collective(**c) for c in run['collectives']]
  return dict(zip(RUNS, found, strict=True))


def _abstract(preset, fsdp=1):
  """The state, with as many devices to share it."""
  mesh = jax.sharding.AbstractMesh(
    (1, fsdp), sharding.AXES, axis_types=(AxisType.Auto,) * 2
  )
  return state.abstract_state(config_lib.make(preset, **SHRUNK), mesh)


def _bytes(tree):
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _split_bytes(fsdp):
  """Bytes of the parameters that are not whole on every device."""
  before = _abstract('reference', fsdp)
  networks = jax.tree.leaves((before.generator, before.discriminator))
  return _bytes([x for x in networks if not x.sharding.is_fully_replicated])


def test_a_device_does_no_more_when_there_are_more(on_cpus):
  flops = [on_cpus[name]['flops'] for name in ('one', 'two', 'four', 'eight')]
  np.testing.assert_allclose(flops, flops[0], rtol=0.02)


@pytest.mark.parametrize(
  ('name', 'devices'),
  [('two', 2), ('four', 4), ('eight', 8), ('compressor', 8)],
)
def test_gradients_and_scalars_alone_cross_the_network(on_cpus, name, devices):
  collectives = on_cpus[name]['collectives']
  assert {(c.kind, c.devices) for c in collectives} == {('all-reduce', devices)}
  before = _abstract(RUNS[name]['preset'])
  shapes = [_sides(shape) for shape in on_cpus[name]['sums']]
  scalars = shapes.count(())
  assert scalars <= 16
  generator, discriminator = (
    [x.shape for x in jax.tree.leaves(tree)]
    for tree in (before.generator, before.discriminator)
  )
  # Not once: on CPUs XLA sums the parts of the discriminator's gradient over
  # the devices before it adds them up: of real pictures, of painted ones and of
  # the penalty.
  fewest = len(generator) + len(discriminator)
  most = len(generator) + 3 * len(discriminator)
  assert fewest <= len(shapes) - scalars <= most
  allowed = {
    form for shape in generator + discriminator for form in _forms(shape)
  }
  assert set(shapes) - {()} <= allowed
  assert not on_cpus['one']['collectives']


def _forms(shape):
  """Shapes, sorted, in which a parameter's gradient may be summed."""
  forms = [shape]
  if len(shape) == 4:
    # As `exgan_jax/models/convolution.py` computes with a kernel: with folded
    # pixels, for repeated ones, or as a matrix.
    taps, _, c, o = shape
    blocks = taps // 2 + 1
    forms += [(blocks, blocks, 4 * c, o), (2, 2, c, 4 * o), (c, taps**2 * o)]
  return [tuple(sorted(x for x in form if x > 1)) for form in forms]


def _sides(shape):
  """Sides of an array in a program's text, in order of length."""
  lengths = shape[shape.index('[') + 1 : shape.index(']')]
  return tuple(sorted(int(n) for n in lengths.split(',') if n and n != '1'))


def test_a_split_state_is_gathered_once(on_cpus):
  collectives = on_cpus['split']['collectives']
  gathered = [c for c in collectives if c.kind == 'all-gather']
  assert {c.devices for c in gathered} == {4}
  assert sum(c.bytes for c in gathered) == _split_bytes(4) > 0


@pytest.mark.parametrize('preset', config_lib.PRESETS)
def test_every_model_can_be_planned(preset):
  config = config_lib.make(preset, batch_size=4, **SHRUNK)
  mesh = sharding.make_mesh(4)
  state_after, metrics = step_program.lower_step(config, mesh).out_info
  assert state_after.step.shape == () and metrics


def _arguments(tmp_path, *more, **fields):
  fields = SHRUNK | {'preset': 'reference', 'topology': 'v5e:2x2'} | fields
  flags = [
    text
    for name, value in fields.items()
    for text in (f'--{config_lib.flag(name)}', str(value))
  ]
  return ['plan', *flags, '--output', str(tmp_path / 'plan.json'), *more]


def _left_by_libtpu():
  """What it writes where it is not told otherwise."""
  paths = map(pathlib.Path, ('/tmp/tpu_logs', '/tmp/libtpu_lockfile'))
  return [path for path in paths if path.exists()]


@needs_libtpu
def test_plan_of_a_pod(tmp_path, capsys, monkeypatch):
  temporary = tmp_path / 'temporary'
  temporary.mkdir()
  monkeypatch.setattr(tempfile, 'tempdir', str(temporary))
  before = _left_by_libtpu()
  assert (
    cli.main(_arguments(tmp_path, '--sweep', '4,8', '--images', '1000000')) == 0
  )
  assert not list(temporary.iterdir())
  assert _left_by_libtpu() == before
  printed, errors = capsys.readouterr()
  assert 'Error' not in errors and 'WARNING' not in errors
  found = json.loads((tmp_path / 'plan.json').read_text())
  assert found.keys() >= CONTRACT
  assert found['fits'] and found['num_devices'] == 4
  assert found['batch_size'] == 4 * cli.PICTURES_PER_CHIP
  sizes = found['bytes_per_device']
  assert sizes['peak'] == (
    sizes['arguments'] + sizes['outputs'] + sizes['temporaries']
  )
  assert sizes['state'] == _bytes(_abstract('reference'))
  assert sizes['arguments'] > sizes['state']
  assert f'{found["images_per_second_estimate"]:,.0f} pictures' in printed
  assert found['compiler_seconds_per_step'] is None
  assert '--complete' in found['skipped']['compiler_seconds_per_step']
  same, larger = found['sweep']
  assert same == found | {'sweep': []}
  assert larger['topology'] == 'v5e:2x4' and larger['batch_size'] == 128
  assert larger['flops_per_step'] == pytest.approx(
    2 * found['flops_per_step'], rel=0.02
  )
  for one in (same, larger):
    _check_gradients_alone('reference', one)


def _check_gradients_alone(preset, found):
  """The gradients cross the network, each once, and a few scalars."""
  before = _abstract(preset)
  (collective,) = found['collectives']
  assert collective['kind'] == 'all-reduce'
  assert collective['devices'] == found['num_devices']
  scalars = collective['bytes'] - _bytes(
    (before.generator, before.discriminator)
  )
  assert 0 < scalars <= 4 * 16 and scalars % 4 == 0


@needs_libtpu
def test_plan_of_a_code_model_needs_no_compressor(tmp_path):
  assert cli.main(_arguments(tmp_path, preset='code')) == 0
  found = json.loads((tmp_path / 'plan.json').read_text())
  _check_gradients_alone('code', found)


@needs_libtpu
def test_plan_of_a_split_state(tmp_path):
  assert cli.main(_arguments(tmp_path, fsdp=4)) == 0
  found = json.loads((tmp_path / 'plan.json').read_text())
  gathered = [c for c in found['collectives'] if c['kind'] == 'all-gather']
  assert sum(c['bytes'] for c in gathered) == _split_bytes(4) > 0


@needs_libtpu
def test_plan_with_the_compilers_estimate(tmp_path):
  arguments = _arguments(tmp_path, '--complete', preset='compressor')
  assert cli.main(arguments) == 0
  found = json.loads((tmp_path / 'plan.json').read_text())
  assert 0 < found['compiler_seconds_per_step'] < 1
  assert found['bytes_per_device']['code'] > 0
  assert found['images_per_second_estimate'] <= (
    found['batch_size'] / found['compiler_seconds_per_step']
  )
  assert not found['skipped']


@needs_libtpu
def test_what_does_not_fit_is_no_error(tmp_path, capsys):
  arguments = _arguments(
    tmp_path, preset='compressor', resolution=256, batch_size=4 * 2**17
  )
  assert cli.main(arguments) == 0
  assert 'DOES NOT FIT' in capsys.readouterr().out
  found = json.loads((tmp_path / 'plan.json').read_text())
  assert not found['fits'] and 'memory' in found['refused']
  assert found['bytes_per_device']['peak'] > found['hbm_bytes']
  assert found['images_per_second_estimate'] is None


@needs_libtpu
def test_a_topology_that_the_compiler_refuses_is_one_line(tmp_path, capsys):
  arguments = _arguments(tmp_path, topology='v5e:3x5', batch_size=15)
  assert cli.main(arguments) == 2
  error = capsys.readouterr().err.strip().splitlines()[-1]
  assert error.startswith('exgan: --topology v5e:3x5: ')
  assert not (tmp_path / 'plan.json').exists()


@pytest.mark.parametrize(
  ('fields', 'more', 'reason'),
  [
    ({'topology': 'v5e'}, [], 'v5e:16x16'),
    ({'topology': 'v9:2x2'}, [], 'v4, v5e, v5p, v6e'),
    ({'topology': 'v5e:0x4'}, [], 'v5e:16x16'),
    ({'batch_size': 6}, [], 'multiple of 4 chips'),
    ({'fsdp': 3}, [], 'does not divide 4 chips'),
    ({'resolution': 33}, [], 'multiple of 16'),
    ({}, ['--sweep', '4,6'], 'powers of two'),
    ({}, ['--images', '0'], '--images'),
    ({}, ['--output', '/nonexistent/plan.txt'], '--output'),
  ],
)
def test_bad_input_is_one_line_and_code_2(
  tmp_path, capsys, monkeypatch, fields, more, reason
):
  monkeypatch.setattr(plan, 'compile_step', None)
  assert cli.main(_arguments(tmp_path, *more, **fields)) == 2
  error = capsys.readouterr().err.strip()
  assert error.startswith('exgan: ') and '\n' not in error and reason in error


def test_without_the_compiler_it_is_said_how_to_get_it(
  tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  assert cli.main(_arguments(tmp_path)) == 2
  assert "pip install 'exgan_jax[plan]'" in capsys.readouterr().err


def test_a_compiler_that_ends_its_process_is_one_line(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: True)

  def run(code, errors):
    done = subprocess.CompletedProcess([], code, stderr=errors)
    monkeypatch.setattr(subprocess, 'run', lambda *given, **named: done)
    tpu_compiler.compile_step(config_lib.make('gan'), 'v5e:2x2')

  with pytest.raises(InputError, match=r'F1 x: a != b$'):
    run(-6, 'I1 starting\nF1 x: a != b\n*** stack ***\n')
  # An error in this program is none in what was asked for.
  with pytest.raises(RuntimeError, match='Traceback'):
    run(1, 'Traceback\n')


@pytest.mark.parametrize(
  ('chip', 'counts', 'topologies'),
  [
    ('v5e', (1, 4, 8, 16, 64, 256), '1x1 2x2 2x4 4x4 8x8 16x16'),
    ('v5p', (1, 4, 8, 16, 64, 256), '1x1x1 2x2x1 2x2x2 2x2x4 4x4x4 4x8x8'),
  ],
)
def test_topologies_of_numbers_of_chips(chip, counts, topologies):
  found = [tpus.topology_of(chip, count) for count in counts]
  assert found == [f'{chip}:{layout}' for layout in topologies.split()]
  assert [tpus.parse(name) for name in found] == [(chip, n) for n in counts]


def test_roofline():
  chip = tpus.Chip(2**30, 100.0, 1000.0, 10.0, 2)
  collectives = [
    Collective('all-reduce', 4, 1, 40),
    Collective('all-gather', 2, 3, 20),
    Collective('collective-permute', 4, 1, 5),
  ]
  assert tpus.roofline(chip, 500.0, 300.0, collectives) == {
    'compute': 0.5,
    'memory': 3.0,
    'network': pytest.approx((2 * 40 * 3 / 4 + 20 / 2 + 5) / 10),
  }


def test_the_slowest_part_sets_the_pace(monkeypatch, tmp_path):
  compiled = tpu_compiler.Compiled(
    devices=4,
    refused='',
    bytes={
      'arguments': 1, 'outputs': 0, 'temporaries': 1, 'peak': 2, 'state': 1,
    },
    code_bytes=5,
    flops=197e12,
    hbm_traffic=2 * 819 * 10**9,
    bytes_accessed=1.0,
    collectives=[],
    compiler_seconds=4.0,
  )  # fmt: skip
  monkeypatch.setattr(plan, 'compile_step', lambda *given: compiled)
  monkeypatch.setattr(plan, 'PACKAGES', ('jax',))
  config = config_lib.make('gan', batch_size=8)
  found = plan.plan(config, 'v5e:2x2', images=3601 * 8, complete=True)
  assert found.roofline_seconds_per_step == 2.0
  assert found.images_per_second_estimate == 8 / 4.0
  assert found.steps == 3601 and found.hours == 3601 * 4 / 3600
  slower = dataclasses.replace(compiled, compiler_seconds=None)
  monkeypatch.setattr(plan, 'compile_step', lambda *given: slower)
  found = plan.plan(config, 'v5e:2x2')
  assert found.images_per_second_estimate == 8 / 2.0
  found = dataclasses.replace(
    found, versions={'libtpu': '0'}, sweep=[found, found]
  )
  text = plan_report.format_plan(found)
  assert 'nothing crosses' in text and 'at most 4 pictures per second' in text
  full = dataclasses.replace(compiled, refused='Ran out of memory: 17G')
  monkeypatch.setattr(plan, 'compile_step', lambda *given: full)
  found = plan.plan(config, 'v5e:2x2')
  assert not found.fits and found.images_per_second_estimate is None
