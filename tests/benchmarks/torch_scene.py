"""What the step computes of a batch besides the networks, in PyTorch.

All pictures are [n, c, h, w], lie channels last and are mirrored, as
`torch_networks` says; the places of eyes in a batch are not.
"""

from __future__ import annotations

import dataclasses

import torch
from torch.nn import functional

from exgan_jax.config import Config
from exgan_jax.models import masks

Batch = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Scene:
  """Pictures to paint.

  Attributes:
    image: float32 [b, 3, h, w] in [-1, 1], the ground truth.
    mask: float32 [b, 1, h, w], 1 in the hole.
    weight: float32 [b, 1, h, w], what the error of each pixel counts.
    exemplar: float32 [b, 4, h, w], the reference and the mask of its eyes;
      [b, 0, h, w] for a model that is not shown it.
    corners: int64 [2 * b, 2], (x, y) of the crops of the eyes, which may lie
      outside the picture.
  """

  image: torch.Tensor
  mask: torch.Tensor
  weight: torch.Tensor
  exemplar: torch.Tensor
  corners: torch.Tensor


def make_scene(config: Config, batch: Batch) -> Scene:
  """Normalises a batch, as the input pipeline makes it, and marks its holes."""
  resolution = config.resolution
  image, eyes = _to_float(batch['image']), batch['eyes']
  mask = hole_masks(eyes, batch['boxes'], resolution)
  if config.exemplar == 'image':
    reference_mask = hole_masks(
      batch['reference_eyes'], batch['reference_boxes'], resolution
    )
    exemplar = torch.cat([_to_float(batch['reference']), reference_mask], dim=1)
  else:
    exemplar = image[:, :0]
  return Scene(
    image=image,
    mask=mask,
    weight=mask * (1.0 + config.eye_weight * nearness(eyes, resolution)),
    exemplar=exemplar,
    corners=_corners(eyes, resolution, masks.crop_side(resolution)),
  )


def generator_input(scene: Scene) -> torch.Tensor:
  """Holed image, hole mask, exemplar: float32 [b, 4 or 8, h, w]."""
  holed = scene.image * (1.0 - scene.mask)
  parts = [holed, scene.mask, scene.exemplar]
  return torch.cat(parts, dim=1).contiguous(memory_format=torch.channels_last)


def discriminator_input(
  config: Config, scene: Scene, image: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
  """What the discriminator sees of an image: it, and a crop an eye.

  Nothing is pulled back through this, but by `of_image`: so there is no
  automatic gradient of the crops, which the compiler could not differentiate
  again.
  """
  with torch.no_grad():
    picture = torch.cat([image, scene.exemplar], dim=1)
    crops = eye_crops(scene, image, masks.crop_side(config.resolution))
  channels_last = torch.channels_last
  return (
    picture.contiguous(memory_format=channels_last).requires_grad_(),
    crops.contiguous(memory_format=channels_last).requires_grad_(),
  )


def of_image(
  scene: Scene, picture: torch.Tensor, crops: torch.Tensor
) -> torch.Tensor:
  """The image's slope, [b, 3, h, w], from those of what was seen of it."""
  return picture[:, :3] + uncropped(scene, crops)


def eye_crops(scene: Scene, image: torch.Tensor, side: int) -> torch.Tensor:
  """[b, c, h, h] to [2 * b, c, side, side]; outside the picture are zeros."""
  corners = scene.corners
  which = torch.arange(len(corners), device=corners.device) // 2
  return _look_up(image, which, corners, side)


def uncropped(scene: Scene, crops: torch.Tensor) -> torch.Tensor:
  """The transpose of `eye_crops`: crops added up where they were cut.

  Each pixel looks up what it gets: to add numbers up where they belong would be
  slow.
  """
  side = scene.image.shape[2]
  which = torch.arange(len(crops), device=crops.device)
  framed = _look_up(crops, which, -scene.corners, side)
  return framed.unflatten(0, (-1, 2)).sum(1)


def composite(scene: Scene, painted: torch.Tensor) -> torch.Tensor:
  """Keeps the known pixels and takes the hole from `painted`."""
  return torch.where(scene.mask > 0, painted, scene.image)


def hole_masks(
  eyes: torch.Tensor, boxes: torch.Tensor, resolution: int
) -> torch.Tensor:
  """Marks boxes [b, 2, 2] around eyes [b, 2, 2] with ones: [b, 1, h, w]."""
  index = _index(eyes, resolution)
  low, high = (eyes - boxes / 2)[..., None], (eyes + boxes / 2)[..., None]
  inside = (low <= index) & (index < high)  # [b, eye, (x, y), pixel]
  columns, rows = inside[:, :, 0], inside[:, :, 1]
  either = (rows[..., :, None] & columns[..., None, :]).any(1, keepdim=True)
  return either.to(eyes.dtype)


def nearness(eyes: torch.Tensor, resolution: int) -> torch.Tensor:
  """Gaussians around eyes [b, 2, 2], the larger of the two: [b, 1, h, w]."""
  offset = (_index(eyes, resolution) - eyes[..., None]) * (20.0 / resolution)
  falloff = torch.exp(-0.5 * offset**2)
  columns, rows = falloff[:, :, 0], falloff[:, :, 1]
  return (rows[..., :, None] * columns[..., None, :]).amax(1, keepdim=True)


def reconstruction_loss(
  scene: Scene, fake: torch.Tensor, weight: torch.Tensor, scales: int = 1
) -> torch.Tensor:
  """Weighted mean absolute error over the pixels of the holes."""
  error = (scene.image - fake) * weight
  found = error.abs().sum()
  for _ in range(scales - 1):
    error = 4.0 * functional.avg_pool2d(error, 2)
    found = found + error.abs().sum()
  total = weight.sum() * scene.image.shape[1]
  return found / (scales * total.clamp(min=1e-6))


def mirrored(image: torch.Tensor) -> torch.Tensor:
  """[n, c, h, w], turned over both ways."""
  return image.flip(2, 3)


def _index(eyes: torch.Tensor, resolution: int) -> torch.Tensor:
  """Pixels' places in the picture as it was, in the mirrored one's order."""
  return torch.arange(
    resolution - 1, -1, -1, dtype=eyes.dtype, device=eyes.device
  )


def _to_float(image: torch.Tensor) -> torch.Tensor:
  """uint8 [b, h, w, c] to mirrored float32 [b, c, h, w] in [-1, 1]."""
  return mirrored(image.permute(0, 3, 1, 2)).float() / 127.5 - 1.0


def _corners(eyes: torch.Tensor, resolution: int, side: int) -> torch.Tensor:
  """Where crops begin in the mirrored picture, int64 [2 * b, 2]."""
  first = (eyes.ceil().long() - side // 2).clamp(-side, resolution)
  return (resolution - side - first).reshape(-1, 2)


def _within(
  start: torch.Tensor, count: int, limit: int
) -> tuple[torch.Tensor, torch.Tensor]:
  """[n] to the `count` places from each on, held in [0, limit); and if so."""
  place = start[:, None] + torch.arange(count, device=start.device)
  return place.clamp(0, limit - 1), (place >= 0) & (place < limit)


def _look_up(
  image: torch.Tensor,
  which: torch.Tensor,
  corners: torch.Tensor,
  side: int,
) -> torch.Tensor:
  """Squares [n, c, side, side], each of one of [m, c, h, h]; zeros outside."""
  columns, inside_x = _within(corners[:, 0], side, image.shape[3])
  rows, inside_y = _within(corners[:, 1], side, image.shape[2])
  found = image.permute(0, 2, 3, 1)[
    which[:, None, None], rows[:, :, None], columns[:, None, :]
  ]
  inside = inside_y[:, :, None] & inside_x[:, None, :]
  return torch.where(inside[..., None], found, 0.0).permute(0, 3, 1, 2)
