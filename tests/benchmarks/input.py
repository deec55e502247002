"""How fast pairs of pictures are read and decoded, and how many cores it takes.

    python tests/benchmarks/input.py --data-dir D --dataset X --resolution R
        [--packed] [--threads 1,2,4] [--seconds S] [--output input.json]

The batches are those of a training, both pictures of each pair decoded, and
nothing is done with them. `pairs_per_cpu_second` is what one core would do
that had nothing else to do: where others use the machine, it says more than
`pairs_per_second`. With `--packed` the same is measured of records that
`exgan pack` makes for that resolution. All kinds are timed in turn, round by
round; what is shown are medians.
"""

import argparse
import json
import os
import pathlib
import statistics
import tempfile
import time

from exgan_jax import config as config_lib
from exgan_jax.data import train_batches
from exgan_jax.face_records import pack, parallel

ROUNDS = 3
# Before the clock starts: the readers are open, and the threads are busy.
WARM_UP = 8


def main() -> None:
  """Prints what it measures, and writes it."""
  arguments = _arguments()
  with tempfile.TemporaryDirectory() as folder:
    kinds = {'as built': arguments.data_dir}
    if arguments.packed:
      kinds |= _pack(arguments, pathlib.Path(folder))
    found = {
      kind: {threads: [] for threads in arguments.threads} for kind in kinds
    }
    for _ in range(ROUNDS):
      for kind, data_dir in kinds.items():
        for threads in arguments.threads:
          found[kind][threads].append(_measure(arguments, data_dir, threads))
    sizes = {
      kind: _bytes_a_record(data_dir, arguments.dataset)
      for kind, data_dir in kinds.items()
    }
  rows = [
    {
      'records': kind,
      'bytes_per_record': sizes[kind],
      'threads': threads,
      **{
        name: statistics.median(r[name] for r in rounds) for name in rounds[0]
      },
    }
    for kind, of_threads in found.items()
    for threads, rounds in of_threads.items()
  ]
  print(_table(rows))
  result = {
    'dataset': arguments.dataset,
    'resolution': arguments.resolution,
    'preset': arguments.preset,
    'batch_size': arguments.batch_size,
    'cores': parallel.cpu_count(),
    'rounds': ROUNDS,
    'seconds': arguments.seconds,
    'rates': rows,
  }
  if arguments.output:
    pathlib.Path(arguments.output).write_text(json.dumps(result, indent=2))


def _arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--data-dir', required=True)
  parser.add_argument('--dataset', required=True)
  parser.add_argument('--resolution', type=int, required=True)
  parser.add_argument('--preset', default='reference')
  parser.add_argument('--batch-size', type=int, default=32)
  parser.add_argument('--packed', action='store_true')
  parser.add_argument('--seconds', type=float, default=5.0)
  parser.add_argument(
    '--threads',
    type=lambda text: [int(number) for number in text.split(',')],
    default=[1, 2, 4],
  )
  parser.add_argument('--output')
  return parser.parse_args()


def _pack(arguments, folder: pathlib.Path) -> dict[str, str]:
  kinds = {}
  for kind, pixels in (('packed JPEG', False), ('packed pixels', True)):
    output = folder / kind
    start = time.perf_counter()
    pack.pack(
      arguments.data_dir, arguments.dataset, arguments.resolution, output,
      pixels=pixels,
    )  # fmt: skip
    print(f'{kind}: written in {time.perf_counter() - start:.1f} s')
    kinds[kind] = str(output)
  return kinds


def _measure(arguments, data_dir: str, threads: int) -> dict[str, float]:
  config = config_lib.make(
    arguments.preset, 'tiny', dataset=arguments.dataset, data_dir=data_dir,
    resolution=arguments.resolution, batch_size=arguments.batch_size,
    reader_threads=threads,
  )  # fmt: skip
  batches = train_batches.train_batches(config)
  for _ in range(WARM_UP):
    next(batches)
  pairs, start, cpu = 0, time.perf_counter(), time.process_time()
  while (seconds := time.perf_counter() - start) < arguments.seconds:
    next(batches)
    pairs += arguments.batch_size
  cpu = time.process_time() - cpu
  batches.close()
  return {
    'pairs_per_second': pairs / seconds,
    'pairs_per_cpu_second': pairs / cpu,
    'load': os.getloadavg()[0],
  }


def _bytes_a_record(data_dir: str, dataset: str) -> float:
  records = train_batches.Records(data_dir, dataset, 'train')
  some = range(0, len(records), max(1, len(records) // 500))
  return statistics.mean(len(records[position].image) for position in some)


def _table(rows: list[dict]) -> str:
  lines = [
    f'{"records":14}{"bytes":>9}{"threads":>9}{"pairs/s":>10}'
    f'{"pairs/CPU-s":>13}{"load":>7}'
  ]
  lines += [
    f'{row["records"]:14}{row["bytes_per_record"]:9.0f}{row["threads"]:9}'
    f'{row["pairs_per_second"]:10.0f}{row["pairs_per_cpu_second"]:13.0f}'
    f'{row["load"]:7.1f}'
    for row in rows
  ]
  return '\n'.join(lines)


if __name__ == '__main__':
  main()
