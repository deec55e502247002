"""Cluster detection, messages and SIGTERM, in one process."""

import os
import select
import signal
import subprocess
import sys

import pytest

from exgan_jax import cli
from exgan_jax.errors import InputError
from exgan_jax.runtime import messages, processes
from exgan_jax.runtime.processes import Cluster, Preemption

pytestmark = pytest.mark.slow

FATAL = (
  'F1122 21:57:09.8 17899 client.h:80] Terminating process because the JAX'
  ' distributed service detected fatal errors. absl::Status: {}\n'
  '*** Check failure stack trace: ***\n'
  '    @     0x7fdde4240634  absl::lts_20260107::log_internal\n'
)


SLURM_STEP = {
  **{'SLURM_JOB_ID': '7', 'SLURM_STEP_NODELIST': 'n[1-2]'},
  **{'SLURM_PROCID': '0', 'SLURM_LOCALID': '0'},
}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
  """Clears the environment and records what would be started."""
  for name in list(os.environ):
    if name.startswith(('SLURM', 'OMPI', 'TPU', 'MEGASCALE', 'JAX_COORD')):
      monkeypatch.delenv(name)
  for name in ('JAX_NUM_PROCESSES', 'JAX_PROCESS_ID'):
    monkeypatch.delenv(name, raising=False)
  started = []
  monkeypatch.setattr(
    processes, '_initialize', lambda *given: started.append(given)
  )
  return started


def test_flags_override_the_environment(alone, monkeypatch):
  assert not Cluster().started() and alone == []
  monkeypatch.setenv('JAX_COORDINATOR_ADDRESS', 'node0:1234')
  monkeypatch.setenv('JAX_NUM_PROCESSES', '4')
  monkeypatch.setenv('JAX_PROCESS_ID', '3')
  assert Cluster().started()
  assert Cluster(process_id=0, barrier_timeout=9).started()
  assert alone == [(600, 'node0:1234', 4, 3), (9, 'node0:1234', 4, 0)]


@pytest.mark.parametrize(
  ('environment', 'found'),
  [
    # The shell of an allocation, and a step of one task.
    ({'SLURM_JOB_ID': '7', 'SLURM_NTASKS': '2'}, False),
    (SLURM_STEP | {'SLURM_NTASKS': '1'}, False),
    (SLURM_STEP | {'SLURM_NTASKS': '2'}, True),
    ({'OMPI_MCA_orte_hnp_uri': 'x', 'OMPI_COMM_WORLD_SIZE': '8'}, True),
    ({'TPU_WORKER_HOSTNAMES': 'a', 'TPU_WORKER_ID': '0'}, False),
    ({'TPU_WORKER_HOSTNAMES': 'a,b', 'TPU_WORKER_ID': '0'}, True),
    ({'MEGASCALE_COORDINATOR_ADDRESS': 'a'}, True),
  ],
)
def test_clusters_are_detected_by_their_environment(
  alone, monkeypatch, environment, found
):
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  assert Cluster().started() == found
  assert alone == ([(600, None, None, None)] if found else [])
  assert Cluster(distributed=True).started()


@pytest.mark.parametrize(
  ('cluster', 'message'),
  [
    (Cluster(num_processes=2), 'go together'),
    (Cluster('a:1', 2, 2), r'--process-id 2 is not in \[0, 2\)'),
    (Cluster('a', 2, 1), 'a is not host:port'),
    (Cluster(barrier_timeout=0), '--barrier-timeout'),
  ],
)
def test_incomplete_clusters_are_refused(cluster, message):
  with pytest.raises(InputError, match=message):
    cluster.started()


def test_non_numeric_variables_are_refused(monkeypatch):
  monkeypatch.setenv('JAX_PROCESS_ID', 'three')
  with pytest.raises(InputError, match="JAX_PROCESS_ID is 'three'"):
    Cluster().started()


@pytest.mark.parametrize(
  ('process', 'text', 'reason'),
  [
    (
      0,
      FATAL.format(
        'UNAVAILABLE: The following tasks are unhealthy (stopped sending'
        ' heartbeats):\n/job:jax_worker/replica:0/task:2\n11\nThe tasks have'
      ),
      'process 2, 11 was lost',
    ),
    (
      2,
      FATAL.format(
        'UNAVAILABLE: Failed to send RPC to coordination service. Either the'
        ' leader task was preempted/died'
      ),
      'process 0 was lost',
    ),
    (
      1,
      FATAL.format(
        'Barrier timed out.\nThe first task at the barrier: 0. Some timed out'
        ' task names:\n3\n\n\nRPC: /xla.coordination/RegisterTask'
      ),
      'process 3 did not start in time',
    ),
    (1, FATAL.format('DEADLINE_EXCEEDED\n\nRPC: /R'), 'another process was'),
  ],
)
def test_aborts_are_explained(process, text, reason):
  lines = text.splitlines(keepends=True)
  found = list(messages.explained(process, lines))
  assert found[-1].startswith(f'exgan: process {process}: {reason}')
  assert not any('0x7fd' in line for line in found)
  assert found[0] == lines[0]


def test_other_messages_are_not_changed():
  lines = ['exgan: hello\n', '  50%|####  |\r', 'Traceback:\n', '  1\n']
  assert list(messages.explained(0, lines)) == lines


def test_standard_error_is_redirected():
  program = """
import os, signal, sys
from exgan_jax.runtime import messages
program = messages.redirect(1)
# A batch system signals all processes of a job.
os.kill(program.pid, signal.SIGTERM)
print('in between', file=sys.stderr, flush=True)
os.write(2, b'F1122 1 client.h:80] Terminating process because\\n')
"""
  ended = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, timeout=60
  )
  assert ended.returncode == 0
  lines = ended.stderr.splitlines()
  assert lines[0] == 'in between'
  assert lines[-1].startswith('exgan: process 1: another process was lost')


def test_progress_bars_are_not_delayed():
  pipes = {'stdin': subprocess.PIPE, 'stderr': subprocess.PIPE}
  command = [sys.executable, '-I', messages.__file__, '0']
  with subprocess.Popen(command, **pipes) as program:
    # Progress bars have no end of line.
    for text in (b'\r 10%', b'\r 20%'):
      program.stdin.write(text)
      program.stdin.flush()
      assert select.select([program.stderr], [], [], 30)[0]
      assert os.read(program.stderr.fileno(), 100) == text
    assert program.communicate(b'half a line', 30)[1] == b'half a line'


def test_preemption_records_sigterm():
  before = signal.getsignal(signal.SIGTERM)
  with Preemption() as preemption:
    assert not preemption.reached(1)
    os.kill(os.getpid(), signal.SIGTERM)
    assert preemption.reached(2)
  assert signal.getsignal(signal.SIGTERM) == before


def test_sigterm_stops_commands_without_state(monkeypatch, capsys):
  before = signal.getsignal(signal.SIGTERM)

  def read_a_checkpoint(**_):
    try:
      os.kill(os.getpid(), signal.SIGTERM)
    except Exception:
      pytest.fail('SIGTERM was taken for a damaged checkpoint')

  monkeypatch.setattr(cli, '_evaluate_here', read_a_checkpoint)
  flags = ['--workdir=w', '--data-dir=d', '--output=o.json']
  assert cli.main(['evaluate', *flags]) == processes.PREEMPTED
  assert 'SIGTERM' in capsys.readouterr().err
  assert signal.getsignal(signal.SIGTERM) == before


def test_lost_processes_have_an_exit_code(monkeypatch, capsys):
  def lose(**_):
    raise processes.LostError('gone\nand more')

  monkeypatch.setattr(cli, '_evaluate_here', lose)
  flags = ['--workdir=w', '--data-dir=d', '--output=o.json']
  assert cli.main(['evaluate', *flags]) == processes.LOST
  assert capsys.readouterr().err.count('\n') == 1


def test_one_process_agrees_with_itself():
  assert processes.agreed(lambda: [3, 4], 2) == [3, 4]
  assert processes.all_of(True)
  assert not processes.all_of(False)
  processes.check_same('they', 'x')
