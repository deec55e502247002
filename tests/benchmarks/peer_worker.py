"""One framework in a process of its own, which does what it is told.

Started by `torch_peer.py` as `peer_worker.py exgan|torch FILE`, where FILE is
JSON with what `Job` holds. It reads a line of JSON at a time and answers each
with one: `prepare`, `train` for a number of steps, `infer` for a number of
calls, and the end of input as the end.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from exgan_jax import config as config_lib
from exgan_jax.models import paint as paint_lib
from exgan_jax.training import state

Answer = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Job:
  """What is to be measured.

  Attributes:
    config: arguments of `exgan_jax.config.make`.
    device: `cpu` or `cuda`.
    weights: file of the first weights; the JAX process writes it.
    variants: of the PyTorch step, see `torch_variants`; one is taken as it is.
    eager: no compilation by PyTorch, of the inference either.
  """

  config: dict[str, Any]
  device: str
  weights: str
  variants: list[str]
  eager: bool


def main() -> None:
  """Answers until there are no more questions."""
  # Libraries may print; only answers are read.
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)
  framework, path = sys.argv[1:]
  job = Job(**json.loads(pathlib.Path(path).read_text()))
  worker = None
  for line in sys.stdin:
    name, count = json.loads(line)
    try:
      if worker is None:
        worker = (_exgan if framework == 'exgan' else _torch)(job)
        next(worker)
      answer = worker.send((name, count))
    except Exception as error:
      if not _is_memory(error):
        raise
      answer = {'out_of_memory': True}
    print(json.dumps(answer), file=answers, flush=True)
    if 'out_of_memory' in answer:
      break


def make_batch(config: config_lib.Config, count: int) -> dict[str, np.ndarray]:
  """Made-up pictures as the input pipeline gives them, with boxes as it has."""
  rng = np.random.default_rng(0)
  side = config.resolution

  def places(low: float, high: float) -> np.ndarray:
    return rng.uniform(low * side, high * side, (count, 2, 2)).astype('f4')

  batch = {'valid': np.ones(count, bool)}
  for name, prefix in (('image', ''), ('reference', 'reference_')):
    shape = (count, side, side, 3)
    batch[name] = rng.integers(0, 256, shape, np.uint8)
    centre = np.float32([[[0.35, 0.45], [0.65, 0.45]]]) * np.float32(side)
    batch[f'{prefix}eyes'] = centre + places(-0.05, 0.05)
    batch[f'{prefix}boxes'] = places(0.15, 0.3)
  return batch


def flat(tree: Any) -> dict[str, np.ndarray]:
  """Nested dictionaries of arrays as one, with names joined by dots."""
  import jax

  leaves, _ = jax.tree.flatten_with_path(tree)
  return {
    '.'.join(str(key.key) for key in path): np.asarray(leaf)
    for path, leaf in leaves
  }


def _exgan(job: Job) -> Iterator[Answer]:
  """The project's own step, as `exgan train` compiles it."""
  import jax
  import jax.numpy as jnp

  from exgan_jax.runtime import compilation, sharding
  from exgan_jax.training import step as step_lib

  config = config_lib.make(**job.config)
  mesh = sharding.make_mesh(config.batch_size, devices=jax.devices()[:1])
  # Copies, as the step uses up the state that it is given.
  current = state.create_state(config, mesh)
  model = jax.tree.map(jnp.copy, state.model_of(current))
  networks = {'g': current.generator, 'd': current.discriminator}
  np.savez(job.weights, **flat(networks))
  batch = sharding.to_device(make_batch(config, config.batch_size), mesh)
  single = sharding.to_device(make_batch(config, 1), mesh)
  step = step_lib.jitted(config, mesh, step_lib.make_train_step(config))
  paint = jax.jit(
    paint_lib.make_paint_step(config),
    compiler_options=compilation.options(jax.devices()[0].platform),
  )

  def train(count: int) -> dict[str, float]:
    nonlocal current
    for _ in range(count):
      current, metrics = step(current, batch)
    jax.block_until_ready(current)
    return {name: float(value) for name, value in metrics.items()}

  def prepare() -> Answer:
    start = time.perf_counter()
    metrics = train(1)
    compiled = time.perf_counter() - start
    train(2)
    jax.block_until_ready(paint(model, single))
    return {
      'metrics': metrics,
      'compile_seconds': compiled,
      'device': jax.devices()[0].device_kind,
      'version': jax.__version__,
    }

  yield from _answers(
    prepare, train, lambda: jax.block_until_ready(paint(model, single))
  )


def _torch(job: Job) -> Iterator[Answer]:
  """The peer, in the fastest of its variants."""
  import torch
  import torch_variants

  config = config_lib.make(**job.config)
  torch_variants.settle(job.device, len(os.sched_getaffinity(0)))
  with np.load(job.weights, allow_pickle=False) as file:
    weights = tuple(
      {k.removeprefix(p): v for k, v in file.items() if k.startswith(p)}
      for p in ('g.', 'd.')
    )
  batch, single = (
    {
      name: torch.tensor(value, device=job.device)
      for name, value in make_batch(config, count).items()
    }
    for count in (config.batch_size, 1)
  )
  trainer = paint = None

  def train(count: int) -> dict[str, float]:
    for _ in range(count):
      metrics = trainer(batch)
    torch_variants.synchronize(job.device)
    return {name: value.item() for name, value in metrics.items()}

  def prepare() -> Answer:
    nonlocal trainer, paint
    tried, trainer = torch_variants.fastest(
      torch_variants.trainers(config, weights, job.device, job.variants, batch)
    )
    if trainer is None:
      # Memory, if it was the last one's reason, too; it is asked for the least.
      raise RuntimeError(f'no variant runs: {tried[-1]["failed"]}')
    inference, paint = torch_variants.fastest(
      torch_variants.painters(trainer, job.device, job.eager, single)
    )
    cuda = job.device == 'cuda'
    return {
      'metrics': tried[0]['metrics'],
      'compile_seconds': tried[0]['compile_seconds'],
      'compiled': tried[0]['variant'],
      'variants': tried,
      'inference_compiled': inference[0]['variant'],
      'inference_variants': inference,
      'device': torch.cuda.get_device_name() if cuda else 'cpu',
      'version': torch.__version__,
    }

  def infer() -> None:
    paint(single)
    torch_variants.synchronize(job.device)

  yield from _answers(prepare, train, infer)


def _answers(
  prepare: Callable[[], Answer],
  train: Callable[[int], dict[str, float]],
  infer: Callable[[], Any],
) -> Iterator[Answer]:
  """Takes a name and a count at each turn, and gives the answer."""
  answer = None
  while True:
    name, count = yield answer
    start = time.perf_counter()
    if name == 'prepare':
      answer = prepare()
    elif name == 'train':
      metrics = train(count)
      answer = {'seconds': time.perf_counter() - start, 'metrics': metrics}
    else:
      seconds = []
      for _ in range(count):
        start = time.perf_counter()
        infer()
        seconds.append(time.perf_counter() - start)
      answer = {'seconds': statistics.median(seconds)}


def _is_memory(error: Exception) -> bool:
  words = 'RESOURCE_EXHAUSTED', 'Out of memory', 'out of memory'
  return any(word in str(error) for word in words)


if __name__ == '__main__':
  main()
