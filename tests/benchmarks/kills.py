"""Kills each command again and again, and looks for what is left of that.

python tests/benchmarks/kills.py FOLDER PHOTOS [KILLS] [COMMAND ...]

FOLDER is for what is written, PHOTOS a folder of `celeb_id`'s raw pictures with
their listing (as `--manual_dir` takes it). Each command runs once undisturbed.
Then it is started KILLS times elsewhere and killed (SIGKILL) after a random
part of that time; half of the times that `train` is, while a checkpoint is
being written. In the end it runs to its end. Printed are how many kills hit
it, processes that outlived their parent, names that are left, and whether
the results are the undisturbed ones, byte by byte.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from PIL import Image

from exgan_jax.photo.page import EXAMPLE
from tfds_celeb_id import synth_id

EXGAN = (sys.executable, '-c', 'from exgan_jax.cli import run; run()')
TFDS = (sys.executable, '-m', 'tensorflow_datasets.scripts.cli.main')
TRAIN = [
  '--preset=reference', '--size=tiny', '--dataset=synth_id',
  '--resolution=32', '--batch-size=4', '--generator-width=4',
  '--discriminator-width=4', '--dilations=1', '--steps=150', '--log-every=5',
  '--checkpoint-every=5', '--sample-every=1000', '--reader-threads=1',
]  # fmt: skip
# Of the names of what is not finished.
UNFINISHED = ('.exgan', 'incomplete.', '.synth_id.', '.orbax-checkpoint-tmp')


@dataclasses.dataclass(frozen=True)
class Job:
  """A command that is killed.

  Attributes:
    argv: makes the command from the folder to write to.
    results: names what must come out the same.
    moment: for every other kill, whether its moment has come.
    again: whether the command refuses what it has written before.
  """

  argv: Callable[[pathlib.Path], list[str]]
  results: tuple[str, ...]
  moment: Callable[[pathlib.Path], bool] | None = None
  again: bool = False


def start(job: Job, place: pathlib.Path) -> subprocess.Popen:
  place.mkdir(parents=True, exist_ok=True)
  with (place.parent / f'{place.name}.log').open('ab') as log:
    return subprocess.Popen(
      job.argv(place), stdout=log, stderr=log, start_new_session=True
    )


def finish(job: Job, place: pathlib.Path) -> float:
  """Runs a command to its end; returns the seconds that it took."""
  begun = time.monotonic()
  code = start(job, place).wait(timeout=600)
  log = (place.parent / f'{place.name}.log').read_text()
  assert code == 0, f'{place}: {code}\n{log[-2000:]}'
  return time.monotonic() - begun


def orphans(group: int) -> int:
  """Kills what is left of a process group; returns how many there were."""
  deadline = time.monotonic() + 5
  while time.monotonic() < deadline:
    members = [
      path.parent.name
      for path in pathlib.Path('/proc').glob('[0-9]*/stat')
      if _group(path) == group
    ]
    if not members:
      return 0
    time.sleep(0.1)
  for member in members:
    os.kill(int(member), signal.SIGKILL)
  return len(members)


def _group(path: pathlib.Path) -> int | None:
  try:
    state, _, group = path.read_text().rpartition(')')[2].split()[:3]
  except OSError:  # It has just ended.
    return None
  return None if state == 'Z' else int(group)


def digest(job: Job, place: pathlib.Path) -> dict[str, str]:
  if job.moment and place.exists():  # Of a run, its model is compared.
    model = place.with_name(f'{place.name}-model')
    export = [*EXGAN, 'export', f'--workdir={place}', f'--output={model}']
    subprocess.run(export, check=True, stdout=subprocess.DEVNULL)
    place = model
  return {
    path.relative_to(place).as_posix(): hashlib.sha256(
      path.read_bytes()
    ).hexdigest()
    for pattern in job.results
    for path in sorted(place.glob(pattern))
    if path.is_file()
  }


def unfinished(place: pathlib.Path) -> list[str]:
  return [
    path.name
    for path in place.rglob('*')
    if any(part in path.name for part in UNFINISHED)
  ]


def disturb(
  name: str, job: Job, folder: pathlib.Path, kills: int, rng: random.Random
) -> str:
  """Returns a row of the table."""
  alone, place = folder / name / 'alone', folder / name / 'killed'
  finish(job, alone)
  seconds = finish(job, folder / name / 'warm')  # Nothing is compiled again.
  hit = left = partial = 0
  for number in range(kills):
    process = start(job, place)
    if job.moment and number % 2:
      while process.poll() is None and not job.moment(place):
        time.sleep(0.001)
    else:
      with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=rng.uniform(0.1, 0.8 * seconds))
    ended = process.poll() is not None
    hit += not ended
    process.kill()
    process.wait()
    left += orphans(process.pid)
    partial += bool(unfinished(place))
    if ended or (job.again and digest(job, place)):
      shutil.rmtree(place)
  finish(job, place)
  same = digest(job, place) == digest(job, alone) != {}
  return (
    f'| `{name}` | {hit} of {kills} | {partial} | {left} |'
    f' {len(unfinished(place))} | {"yes" if same else "NO"} |'
  )


def jobs(folder: pathlib.Path, photos: str) -> dict[str, Job]:
  """The commands, and what they need."""
  data, run, pictures = folder / 'data', folder / 'run', folder / 'photos'
  if not data.exists():
    synth_id.Builder(
      data_dir=str(data), people=60, pictures=3, seed=0, workers=0
    ).download_and_prepare()
  if not pictures.exists():
    pictures.mkdir()
    for number in range(6):
      shutil.copy(EXAMPLE / 'blinked.jpg', pictures / f'{number}.jpg')
    with Image.open(EXAMPLE / 'blinked.jpg') as image:
      image.save(pictures / 'a.png')
  train = Job(
    lambda place: [
      *EXGAN, 'train', *TRAIN, f'--data-dir={data}', f'--workdir={place}',
    ],
    ('weights.safetensors',),
    lambda place: any(
      'tmp' in path.name for path in (place / 'checkpoints').glob('*')
    ),
  )  # fmt: skip
  if not (run / 'checkpoints' / '150').exists():
    finish(train, run)
  results = folder / 'results.json'
  evaluate = [
    *EXGAN, 'evaluate', f'--workdir={run}', f'--data-dir={data}',
    '--baselines',
  ]  # fmt: skip
  if not results.exists():
    subprocess.run([*evaluate, f'--output={results}'], check=True)
  return {
    'train': train,
    'evaluate': Job(
      lambda place: [*evaluate, f'--output={place}/r.json'],
      ('r.json', 'r.csv', 'r.png'),
    ),
    'report': Job(
      lambda place: [*EXGAN, 'report', str(results), f'--output={place}'],
      ('*',),
    ),
    'inpaint FOLDER': Job(
      lambda place: [
        *EXGAN, 'inpaint', str(pictures), f'--output={place}', '--reference',
        str(EXAMPLE / 'open.jpg'),
      ],
      ('*',),
    ),
    'pack': Job(
      lambda place: [
        *EXGAN, 'pack', f'--data-dir={data}', '--dataset=synth_id',
        '--resolution=64', f'--output={place}',
      ],
      ('synth_id/*/*',),
      again=True,
    ),
    'export': Job(
      lambda place: [*EXGAN, 'export', f'--workdir={run}', f'--output={place}'],
      ('*',),
    ),
    'tfds build': Job(
      lambda place: [
        *TFDS, 'build', 'celeb_id', '--imports=tfds_celeb_id',
        '--file_format=array_record', f'--manual_dir={photos}',
        f'--data_dir={place}',
      ],
      ('celeb_id/*/*.array_record*',),
    ),
  }  # fmt: skip


def main(folder: str, photos: str, kills: str = '20', *names: str) -> None:
  """Prints the table."""
  place, rng = pathlib.Path(folder).resolve(), random.Random(0)
  place.mkdir(parents=True, exist_ok=True)
  known = jobs(place, photos)
  print('| command | killed | unfinished before | orphans | left | same |')
  print('|---|---|---|---|---|---|')
  for name in names or known:
    print(disturb(name, known[name], place, int(kills), rng), flush=True)


if __name__ == '__main__':
  main(*sys.argv[1:])
