"""Ways to run the PyTorch step and its inference, of which the fastest counts.

An automatic gradient inside a compiled network cannot be differentiated again,
as R1 asks, so either the discriminator runs uncompiled for the real pictures
(`networks`) or the compiler traces the whole step with all its gradients into
one graph (`step`), which is as XLA has it. A variant that does not compile is
left out, and said to be.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch_step
from torch.nn import functional
from torch_networks import Conv, Weights
from torch_scene import Batch
from torch_step import Trainer

from exgan_jax.config import Config

DEFAULT = {
  'cpu': ('step', 'networks', 'eager'),
  'cuda': (
    'step-cudagraphs', 'step-cudagraphs-repeated', 'step', 'networks', 'eager',
  ),
}  # fmt: skip
# What `torch.compile` is told; the last one takes minutes. After each may stand
# `-repeated`: pixels are doubled before a convolution, not by a transposed one.
_MODES = {
  'step': None,
  'step-cudagraphs': 'reduce-overhead',
  'step-autotuned': 'max-autotune',
}
_REPEATED = '-repeated'
_BASES = (*_MODES, 'networks', 'eager')
VARIANTS = (*_BASES, *(f'{name}{_REPEATED}' for name in _BASES))
_TRIALS = 5

Paint = Callable[[Batch], torch.Tensor]
# What is called, if it can be, and what is said of it.
Candidate = tuple[Any, dict[str, Any]]


def settle(device: str, threads: int) -> None:
  """Settings that a tuned program has; call it once, before anything else."""
  torch.set_num_threads(threads)
  if device == 'cuda':
    # As XLA has it for float32.
    torch.set_float32_matmul_precision('high')
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def synchronize(device: str) -> None:
  """Waits until the device has done all that it was given."""
  if device == 'cuda':
    torch.cuda.synchronize()


def make_trainer(
  config: Config, weights: tuple[Weights, Weights], device: str, variant: str
) -> Trainer:
  """A trainer with the first weights; what it compiles is compiled later."""
  networks = torch_step.make_networks(config, *weights, device=device)
  if variant.endswith(_REPEATED):
    variant = variant.removesuffix(_REPEATED)
    for each in networks.generator.decoder:
      each.transposed = False
  trainer = Trainer(config, networks)
  if variant in _MODES:
    torch._dynamo.config.trace_autograd_ops = True
    compiled = torch.compile(
      trainer.gradients, fullgraph=True, dynamic=False, mode=_MODES[variant]
    )

    def step(batch: Batch) -> torch_step.Gradients:
      # What the last graph gave is used up, so its memory may be written to.
      torch.compiler.cudagraph_mark_step_begin()
      return compiled(batch)

    trainer.gradients = step
  else:
    for module in (networks.generator, networks.discriminator):
      _plain(module)
  if variant == 'networks':
    networks.paint = torch.compile(networks.generator, dynamic=False)
    networks.judge = torch.compile(networks.discriminator, dynamic=False)
  return trainer


def trainers(
  config: Config,
  weights: tuple[Weights, Weights],
  device: str,
  variants: tuple[str, ...],
  batch: Batch,
) -> Iterator[Candidate]:
  """Compiles and times variants one after the other."""
  for name in variants:
    yield _candidate(
      name,
      device,
      lambda name=name: make_trainer(config, weights, device, name),
      batch,
    )


def painters(
  trainer: Trainer, device: str, eager: bool, batch: Batch
) -> Iterator[Candidate]:
  """Compiles and times ways to paint one picture, with the averaged weights."""
  config = trainer.config

  def plain() -> Paint:
    network = copy.deepcopy(trainer.average).eval()
    if config.compute_dtype == 'bfloat16':
      network.to(torch.bfloat16)  # Once, not at each call.
    _plain(network)
    return lambda batch: torch_step.paint(config, network, batch)

  def inference(paint: Paint) -> Paint:
    return torch.inference_mode()(paint)

  def compiled(mode: str | None = None) -> Paint:
    return inference(torch.compile(plain(), dynamic=False, mode=mode))

  yield _candidate('eager', device, lambda: inference(plain()), batch)
  if eager:
    return
  yield _candidate('compiled', device, compiled, batch)
  if device == 'cuda':
    yield _candidate(
      'compiled-cudagraphs', device, lambda: compiled('reduce-overhead'), batch
    )
  # Weights are constants of the program, in whatever order is fastest.
  with torch._inductor.config.patch(freezing=True):
    yield _candidate('frozen', device, compiled, batch)


def fastest(
  candidates: Iterator[Candidate],
) -> tuple[list[dict[str, Any]], Any]:
  """What is said of all, the fastest first, and the fastest; None if none is.

  Only one is kept at a time, for the sake of memory.
  """
  said, best = [], None
  for made, facts in candidates:
    if made is not None:
      first = best is None or facts['seconds'] < said[0]['seconds']
      best = made if first else best
    said.append(facts)
    said.sort(key=lambda facts: facts.get('seconds', math.inf))
    del made
  return said, best


def _candidate(
  name: str, device: str, make: Callable[[], Any], batch: Batch
) -> Candidate:
  """Makes something to be called with a batch, and times its first call."""
  start = time.perf_counter()
  try:
    made = make()
    found = made(batch)
    synchronize(device)
    facts = {
      'variant': name,
      'compile_seconds': time.perf_counter() - start,
    }
    if isinstance(found, dict):
      facts['metrics'] = {key: value.item() for key, value in found.items()}
    del found
    facts['seconds'] = _shortest(made, device, batch)
    return made, facts
  except torch.OutOfMemoryError:
    reason = 'out of memory'
  except Exception as error:
    # Whatever a compiler may raise, the other variants are still there.
    reason = f'{type(error).__name__}: {error}'.splitlines()[0][:200]
  if device == 'cuda':
    torch.cuda.empty_cache()
  return None, {'variant': name, 'failed': reason}


def _shortest(made: Callable[[Batch], Any], device: str, batch: Batch) -> float:
  made(batch)  # A graph may be recorded at the second call.
  seconds = []
  for _ in range(_TRIALS):
    start = time.perf_counter()
    made(batch)
    synchronize(device)
    seconds.append(time.perf_counter() - start)
  return min(seconds)


def _plain(module: torch.nn.Module) -> None:
  """Takes PyTorch's own activation: one pass instead of three.

  It differs where a number is exactly 0, which trained biases do not let be. In
  a compiled graph there is nothing to be won.
  """
  for each in module.modules():
    if isinstance(each, Conv) and each.activation is not torch.tanh:
      each.activation = functional.leaky_relu
