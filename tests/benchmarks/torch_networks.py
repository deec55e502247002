"""The generator and the discriminator in PyTorch, with the same weights.

For models without codes, injections, normalisation and spectral norm, which is
what `gan` and `reference` are by default. Tensors are [n, c, h, w] and lie
channels last.

Both networks work in the mirror: pictures, kernels and what dense layers read
are turned over, up to down and left to right. XLA's SAME padding of a strided
convolution has its odd pixel after the picture, PyTorch's own symmetric padding
before it; so in the mirror the two are one, no picture is padded in memory, and
nothing else changes, as neither Adam nor the average looks at where a weight
stands.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from exgan_jax.config import Config
from exgan_jax.models import masks
from exgan_jax.models.discriminator import FEATURES_PER_WIDTH
from exgan_jax.models.layers import SMALLEST_SIDE

Weights = dict[str, np.ndarray]


def check(config: Config) -> None:
  """Raises ValueError where a configuration has what is not written here."""
  for name, allowed in (
    ('preset', ('gan', 'reference')),
    ('decay_steps', (0,)),
  ):
    if getattr(config, name) not in allowed:
      raise ValueError(f'{name} {getattr(config, name)} has no peer')


def leaky_relu(x: torch.Tensor) -> torch.Tensor:
  """With JAX's slope of 1 at 0, where PyTorch's own function has 0.01.

  Fresh biases are 0, so where a crop leaves the picture it is just there that
  the first step looks.
  """
  return torch.where(x >= 0, x, 0.01 * x)


class Conv(nn.Module):
  """A convolution of an odd kernel with SAME padding, and an activation.

  With `doubles` every pixel is repeated twice each way before: as it is written
  here, or in one transposed convolution where `transposed` is set, which adds
  the taps that see the same pixel and has four of nine left to compute.
  """

  def __init__(
    self,
    in_channels: int,
    out_channels: int,
    kernel: int = 3,
    *,
    strides: int = 1,
    dilation: int = 1,
    doubles: bool = False,
    activation: Any = leaky_relu,
  ):
    super().__init__()
    self.activation = activation
    self.doubles = doubles
    self.transposed = doubles
    self.conv = nn.Conv2d(
      in_channels,
      out_channels,
      kernel,
      stride=strides,
      dilation=dilation,
      padding=dilation * (kernel // 2),
    )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    if self.transposed:
      kernel = _doubling_kernel(self.conv.weight)
      return self.activation(
        functional.conv_transpose2d(
          x, kernel, self.conv.bias, stride=2, padding=1
        )
      )
    if self.doubles:
      x = functional.interpolate(x, scale_factor=2, mode='nearest')
    return self.activation(self.conv(x))


class Generator(nn.Module):
  """[n, 4 or 8, h, w] to float32 [n, 3, h, w] in [-1, 1]."""

  def __init__(self, config: Config):
    super().__init__()
    c = config.generator_width
    self.encoder = nn.ModuleList([
      Conv(4 + _exemplar_channels(config), c, 5),
      Conv(c, 2 * c, strides=2),
      Conv(2 * c, 2 * c),
      Conv(2 * c, 4 * c, strides=2),
      Conv(4 * c, 4 * c),
    ])  # fmt: skip
    dilations = [2 ** (i + 1) for i in range(config.dilations)]
    self.bottleneck = nn.ModuleList(
      Conv(4 * c, 4 * c, dilation=d) for d in [*dilations, 1]
    )
    self.decoder = nn.ModuleList([
      Conv(4 * c, 2 * c, doubles=True),
      Conv(2 * c, 2 * c),
      Conv(2 * c, c, doubles=True),
      Conv(c, c),
    ])  # fmt: skip
    self.output = Conv(c, 3, activation=torch.tanh)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    steps = []
    for layer in self.encoder:
      x = layer(x)
      steps.append(x)
    for layer in self.bottleneck:
      x = x + layer(x)
    first, second, third, fourth = self.decoder
    x = second(first(x) + steps[2])
    x = fourth(third(x) + steps[0])
    return self.output(x).float()


class Encoder(nn.Module):
  """Strided convolutions, then a vector: [n, c, side, side] to [n, f]."""

  def __init__(self, in_channels: int, side: int, width: int):
    super().__init__()
    sides = [side]
    while sides[-1] > SMALLEST_SIDE:
      sides.append(-(-sides[-1] // 2))
    # What the first layer reads, and what each of them gives.
    channels = [in_channels]
    channels += [min(2**i, 8) * width for i in range(len(sides) - 1)]
    self.convs = nn.ModuleList(
      Conv(*pair, 5, strides=2) for pair in itertools.pairwise(channels)
    )
    self.dense = nn.Linear(
      sides[-1] ** 2 * channels[-1], FEATURES_PER_WIDTH * width
    )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    for conv in self.convs:
      x = conv(x)
    return self.dense(x.permute(0, 2, 3, 1).flatten(1))


class Discriminator(nn.Module):
  """The picture, [n, 3 or 7, h, w], and the crops of its eyes to a logit.

  Crops are [2 * n, 3, side, side], left and right in turn; the logits float32
  [n].
  """

  def __init__(self, config: Config):
    super().__init__()
    width = config.discriminator_width
    self.globally = Encoder(
      3 + _exemplar_channels(config), config.resolution, width
    )
    self.locally = Encoder(3, masks.crop_side(config.resolution), width)
    self.logit = nn.Linear(3 * FEATURES_PER_WIDTH * width, 1)

  def forward(self, picture: torch.Tensor, crops: torch.Tensor) -> torch.Tensor:
    eyes = self.locally(crops).reshape(picture.shape[0], -1)
    joined = leaky_relu(torch.cat([self.globally(picture), eyes], dim=1))
    return self.logit(joined)[:, 0].float()


def load(module: nn.Module, weights: Weights) -> None:
  """Gives a module copies of weights that `peer_worker.flat` named."""
  turned = from_jax(module, weights)
  module.load_state_dict(turned, strict=True)


def from_jax(module: nn.Module, weights: Weights) -> dict[str, torch.Tensor]:
  """A JAX network's arrays, or its gradients, in a module's names and places.

  Kernels [h, w, in, out] become [out, in, h, w] and those of dense layers
  [in, out] become [out, in]; all are mirrored.
  """
  state = {}
  for name, value in weights.items():
    if name.endswith('.bias'):
      state[name] = torch.tensor(value)
      continue
    name = name.removesuffix('kernel') + 'weight'
    if value.ndim == 4:
      value = value[::-1, ::-1].transpose(3, 2, 0, 1)
    elif name.endswith('.dense.weight'):
      # It reads a picture's last features, row by row.
      convs = module.get_submodule(name.removesuffix('.dense.weight')).convs
      channels = convs[-1].conv.out_channels
      side = round((value.shape[0] / channels) ** 0.5)
      picture = value.reshape(side, side, channels, -1)
      value = picture[::-1, ::-1].reshape(value.shape).T
    else:
      value = value.T
    state[name] = torch.tensor(value.copy())
  return state


def _exemplar_channels(config: Config) -> int:
  return 4 if config.exemplar == 'image' else 0


def _doubling_kernel(weight: torch.Tensor) -> torch.Tensor:
  """[out, in, 3, 3] to the kernel [in, out, 4, 4] of a transposed convolution.

  An output pixel sees each of two input pixels, each way, through one tap or
  through the sum of two.
  """
  shifts = ((0, 1, 0, 1), (0, 1, 1, 0), (1, 0, 0, 1), (1, 0, 1, 0))
  whole = sum(functional.pad(weight, shift) for shift in shifts)
  return whole.flip(2, 3).transpose(0, 1)
