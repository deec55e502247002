"""One step of training in PyTorch, equal to `exgan_jax.training.step`'s.

The generator runs forward once, for both updates; so does the discriminator
for the painted pictures, and once more for the real ones.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import torch
import torch_networks
from torch.nn import functional
from torch_networks import Discriminator, Generator, Weights
from torch_scene import (
  Batch,
  Scene,
  composite,
  discriminator_input,
  eye_crops,
  generator_input,
  make_scene,
  mirrored,
  of_image,
  reconstruction_loss,
)

from exgan_jax.config import Config

Metrics = dict[str, torch.Tensor]
Gradients = tuple[list[torch.Tensor], list[torch.Tensor], Metrics]


@dataclasses.dataclass
class Networks:
  """What the gradients are taken of.

  Attributes:
    generator: the module.
    discriminator: the module.
    paint: the generator as it is called; compiled or not.
    judge: the discriminator as it is called for painted pictures.
    judge_real: and for real ones, which is differentiated twice.
  """

  generator: Generator
  discriminator: Discriminator
  paint: Callable[..., torch.Tensor]
  judge: Callable[..., torch.Tensor]
  judge_real: Callable[..., torch.Tensor]


def make_networks(
  config: Config,
  generator: Weights,
  discriminator: Weights,
  device: str | torch.device = 'cpu',
) -> Networks:
  """Networks on a device, with weights that `peer_worker.flat` named."""
  torch_networks.check(config)
  modules = Generator(config), Discriminator(config)
  for module, weights in zip(modules, (generator, discriminator), strict=True):
    torch_networks.load(module, weights)
    module.to(device, memory_format=torch.channels_last)
  return Networks(*modules, *modules, modules[1])


def gradients(config: Config, networks: Networks, batch: Batch) -> Gradients:
  """Gradients of the generator, of the discriminator, and the metrics."""
  scene = make_scene(config, batch)
  with _autocast(config, scene.image):
    painted = networks.paint(generator_input(scene))
  fake = composite(scene, painted)
  seen = discriminator_input(config, scene, fake)
  with _autocast(config, fake):
    fake_logits = networks.judge(*seen)

  d_grads, d_metrics = _discriminator(config, networks, scene, fake_logits)
  adversarial = functional.softplus(-fake_logits).mean()
  slopes = torch.autograd.grad(config.adversarial_weight * adversarial, seen)
  g_grads, g_metrics = _generator(
    config, networks, scene, fake, of_image(scene, *slopes)
  )
  metrics = {
    **g_metrics,
    **d_metrics,
    'adversarial_loss': adversarial,
    'generator_gradient_norm': _norm(g_grads),
    'discriminator_gradient_norm': _norm(d_grads),
    'fake_logit': fake_logits.mean(),
  }
  metrics = {name: value.detach() for name, value in metrics.items()}
  return g_grads, d_grads, metrics


def _generator(
  config: Config,
  networks: Networks,
  scene: Scene,
  fake: torch.Tensor,
  slope: torch.Tensor,
) -> tuple[list[torch.Tensor], Metrics]:
  """The generator's gradients, with the discriminator's slope at its pictures.

  One pass back: that of the error over the hole is added at the pictures.
  """
  leaf = fake.detach().requires_grad_()
  weighted = reconstruction_loss(
    scene, leaf, scene.weight, config.reconstruction_scales
  )
  loss = config.reconstruction_weight * weighted
  (own,) = torch.autograd.grad(loss, leaf)
  parameters = list(networks.generator.parameters())
  grads = torch.autograd.grad(fake, parameters, own + slope)
  l1_hole = reconstruction_loss(scene, fake.detach(), scene.mask)
  return list(grads), {'l1_hole': l1_hole / 2.0}


def _discriminator(
  config: Config, networks: Networks, scene: Scene, fake_logits: torch.Tensor
) -> tuple[list[torch.Tensor], Metrics]:
  """The discriminator's gradients, from what it says of painted pictures."""
  seen = discriminator_input(config, scene, scene.image)
  with _autocast(config, scene.image):
    real_logits = networks.judge_real(*seen)
  loss = (
    functional.softplus(-real_logits).mean()
    + functional.softplus(fake_logits).mean()
  )
  outputs, pulls = [loss], [torch.ones_like(loss)]
  penalty = torch.zeros_like(loss)
  if config.gradient_penalty:
    slopes = torch.autograd.grad(real_logits.sum(), seen, create_graph=True)
    with torch.no_grad():
      slope = of_image(scene, *slopes)
      penalty = 0.5 * (slope**2).sum((1, 2, 3)).mean()
      # R1's own slope by the picture's and the crops' slopes, by hand.
      weight = config.gradient_penalty * config.gradient_penalty_every
      pull = slope * (weight / len(slope))
      rest = torch.zeros_like(slopes[0][:, 3:])
      crops = eye_crops(scene, pull, slopes[1].shape[2])
    outputs += slopes
    pulls += [torch.cat([pull, rest], dim=1), crops]
  grads = torch.autograd.grad(
    outputs,
    list(networks.discriminator.parameters()),
    pulls,
    # The generator's pass goes back through the painted pictures' again.
    retain_graph=True,
  )
  return list(grads), {
    'discriminator_loss': loss,
    'gradient_penalty': penalty,
    'real_logit': real_logits.mean(),
  }


class Trainer:
  """The networks, Adam's moments and the average, changed step by step.

  Attributes:
    average: the generator with the averaged weights.
    gradients: the function from a batch to `Gradients`; may be replaced by a
      compiled one.
    step: number of steps done.
  """

  def __init__(self, config: Config, networks: Networks):
    self.config = config
    self.networks = networks
    self.average = copy.deepcopy(networks.generator).requires_grad_(False)
    self.gradients: Callable[[Batch], Gradients]
    self.gradients = lambda batch: gradients(config, networks, batch)
    self.step = 0
    betas = config.adam_b1, config.adam_b2
    self.optimizers = [
      torch.optim.Adam(module.parameters(), lr=rate, betas=betas, fused=True)
      for module, rate in (
        (networks.generator, config.generator_learning_rate),
        (networks.discriminator, config.discriminator_learning_rate),
      )
    ]

  def __call__(self, batch: Batch) -> Metrics:
    """Does one step; the metrics stay on the device."""
    *all_grads, metrics = self.gradients(batch)
    for optimizer, grads in zip(self.optimizers, all_grads, strict=True):
      for param, grad in zip(
        optimizer.param_groups[0]['params'], grads, strict=True
      ):
        # The fused kernel walks through both in the order of memory.
        if grad.stride() != param.stride():
          grad = torch.empty_like(param).copy_(grad)
        param.grad = grad
      optimizer.step()
    self._update_average()
    self.step += 1
    return metrics

  @torch.no_grad()
  def _update_average(self) -> None:
    decay = min(self.config.ema_decay, (1.0 + self.step) / (10.0 + self.step))
    torch._foreach_lerp_(
      list(self.average.parameters()),
      list(self.networks.generator.parameters()),
      1.0 - decay,
    )


def paint(config: Config, generator: Generator, batch: Batch) -> torch.Tensor:
  """Painted pictures, float32 [b, h, w, 3] in [0, 1]."""
  scene = make_scene(config, batch)
  with _autocast(config, scene.image):
    painted = generator(generator_input(scene))
  result = (composite(scene, painted) + 1.0) / 2.0
  return mirrored(result).permute(0, 2, 3, 1)


def _autocast(config: Config, tensor: torch.Tensor) -> torch.autocast:
  return torch.autocast(
    tensor.device.type,
    torch.bfloat16,
    enabled=config.compute_dtype == 'bfloat16',
  )


def _norm(grads: list[torch.Tensor]) -> torch.Tensor:
  norms = torch._foreach_norm(grads)
  return torch.linalg.vector_norm(torch.stack(norms))
