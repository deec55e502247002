"""Whether a training starts as fast with a hundred times the people.

    python tests/benchmarks/start_up.py [--people 300] [--factors 1,10,100]
        [--rounds 3] [--output start_up.json]

Drawn people of 16 px, the same few under ever new names, are written as data
sets of `people`, ten times and a hundred times as many. A fresh process then
trains for two steps on each. Shown are medians over rounds, each in seconds of
CPU time, as others may use the machine: until the data set is open and the
first batch is there, of that what the input took in all, until the first step
has been started, and until the end; and the peak of the resident memory. The
compiler's work comes from its cache, which a run before all others has filled.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from array_record.python import array_record_module
from tensorflow_datasets.proto import tf_example_pb2

from exgan_jax.face_records import folder as folder_lib
from exgan_jax.face_records import pack
from tfds_celeb_id import synth_id
from tfds_celeb_id.records import RECORDS_PER_SHARD

_SIDE = 16
_DRAWN = {'people': 60, 'pictures': 6}


def main() -> None:
  """Prints what it measures, and writes it."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--people', type=int, default=300)
  parser.add_argument('--factors', default='1,10,100')
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--output')
  arguments = parser.parse_args()
  factors = [int(factor) for factor in arguments.factors.split(',')]
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    small = _small(folder)
    records = {}
    for factor in factors:
      records[factor] = _write(
        small, folder / f'times {factor}', factor * arguments.people
      )
    _train(folder, folder / f'times {factors[0]}', 'first')
    found = {factor: [] for factor in factors}
    for turn in range(arguments.rounds):
      for factor in factors:
        data_dir = folder / f'times {factor}'
        found[factor].append(_train(folder, data_dir, f'{factor}-{turn}'))
  rows = [
    {
      'people': factor * arguments.people,
      'records': records[factor],
      **{k: statistics.median(r[k] for r in rounds) for k in rounds[0]},
    }
    for factor, rounds in found.items()
  ]
  print(_table(rows))
  if arguments.output:
    pathlib.Path(arguments.output).write_text(json.dumps(rows, indent=2))


def _small(folder: pathlib.Path) -> pathlib.Path:
  """Draws people, and returns the folder of their small pictures."""
  drawn = str(folder / 'drawn')
  synth_id.Builder(data_dir=drawn, seed=0, **_DRAWN).download_and_prepare()
  return pack.pack(drawn, 'synth_id', _SIDE, folder / 'small')


def _write(small: pathlib.Path, data_dir: pathlib.Path, people: int) -> int:
  """Writes a data set of many people; returns how many records they have."""
  folder = data_dir / 'synth_id' / small.name
  folder.mkdir(parents=True)
  info = folder_lib.read_json(small / folder_lib.DATASET_INFO)
  for split in info['splits']:
    count = people if split['name'] == 'train' else 0
    examples = _examples(small, split['name'])
    total = count * _DRAWN['pictures'] if count else len(examples)
    lengths = [
      min(RECORDS_PER_SHARD, total - start)
      for start in range(0, total, RECORDS_PER_SHARD)
    ]
    repeated = _repeated(examples)
    for number, length in enumerate(lengths):
      name = f'synth_id-{split["name"]}.array_record-{number:05d}-of-'
      path = folder / f'{name}{len(lengths):05d}'
      writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
      for _ in range(length):
        writer.write(next(repeated))
      writer.close()
    split['shardLengths'] = [str(length) for length in lengths]
    if split['name'] == 'train':
      train = total
  (folder / folder_lib.DATASET_INFO).write_text(json.dumps(info))
  return train


def _examples(small: pathlib.Path, split: str) -> list:
  examples = []
  for shard in folder_lib.shards(small, 'synth_id', split):
    reader = array_record_module.ArrayRecordReader(shard.filename)
    examples += map(tf_example_pb2.Example.FromString, reader.read_all())
    reader.close()
  return examples


def _repeated(examples: list) -> Iterator[bytes]:
  """Yields them over and over, as other people each time."""
  turn = 0
  while True:
    for example in examples:
      for name in ('identity', 'filename'):
        value = example.features.feature[name].bytes_list.value
        value[0] = b'%d~' % turn + value[0].rpartition(b'~')[2]
      yield example.SerializeToString(deterministic=True)
    turn += 1


def _train(
  folder: pathlib.Path, data_dir: pathlib.Path, name: str
) -> dict[str, float]:
  """Trains in a fresh process; returns what it says of itself."""
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_COMPILATION_CACHE_DIR': str(folder / 'cache'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '0',
  }
  done = subprocess.run(
    [sys.executable, __file__, str(data_dir), str(folder / f'run {name}')],
    env=environment, capture_output=True, text=True, check=False,
  )  # fmt: skip
  if done.returncode:
    sys.exit(done.stderr)
  return json.loads(done.stdout.splitlines()[-1])


def _train_here(data_dir: str, workdir: str) -> None:
  """Trains for two steps, and prints when what was done."""
  import exgan_jax
  from exgan_jax.data import train_batches

  found = {'imported': _cpu(), 'input': 0.0}
  memory = {}

  class Watched:
    """The iterator of a training, and when it is asked for batches."""

    def __init__(self, batches):
      self._batches, self._asked = batches, 0

    def __next__(self):
      self._asked += 1
      if self._asked == 2:
        found['first_step'] = _cpu()
      with _clock(found):
        batch = next(self._batches)
      if self._asked == 1:
        found['first_batch'] = _cpu()
        memory['memory_first_batch_mb'] = _peak()
      return batch

    def __getattr__(self, name):
      return getattr(self._batches, name)

  make, fingerprint = (
    train_batches.train_batches,
    train_batches.Records.fingerprint,
  )

  def timed(function):
    def call(*arguments):
      with _clock(found):
        return function(*arguments)

    return call

  train_batches.train_batches = lambda *args: Watched(timed(make)(*args))
  train_batches.Records.fingerprint = timed(fingerprint)
  start = time.perf_counter()
  exgan_jax.train(
    exgan_jax.make_config(
      'reference', 'tiny', dataset='synth_id', data_dir=data_dir,
      workdir=workdir, resolution=_SIDE, batch_size=8, steps=2,
      generator_width=4, discriminator_width=4, log_every=1,
    )
  )  # fmt: skip
  found |= {'end': _cpu(), 'wall_in_train': time.perf_counter() - start}
  print(json.dumps(found | memory | {'memory_mb': _peak()}))


@contextlib.contextmanager
def _clock(found: dict[str, float]) -> Iterator[None]:
  start = time.perf_counter()
  yield
  found['input'] += time.perf_counter() - start


def _cpu() -> float:
  return time.process_time()


def _peak() -> float:
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _table(rows: list[dict]) -> str:
  titles = {
    'people': ('people', 0),
    'records': ('records', 0),
    'imported': ('imported', 2),
    'first_batch': ('first batch', 2),
    'first_step': ('first step', 2),
    'end': ('end', 2),
    'input': ('input, wall', 3),
    'memory_first_batch_mb': ('MB at batch 1', 0),
    'memory_mb': ('MB at most', 0),
  }
  lines = [''.join(f'{title:>14}' for title, _ in titles.values())]
  lines += [
    ''.join(f'{row[k]:14.{digits}f}' for k, (_, digits) in titles.items())
    for row in rows
  ]
  return '\n'.join(lines)


if __name__ == '__main__':
  if len(sys.argv) == 3 and not sys.argv[1].startswith('-'):
    _train_here(*sys.argv[1:])
  else:
    main()
