"""The reference's eyes in a photograph, at the photograph's own resolution.

Smooth things (light, flow, contrast) are worked out in a small upright frame
around the eyes, whatever the size of the face; the reference photograph is
sampled once, where the photograph's pixels are. Without fields of the transfer
network this is the closed form `reference_clone`.
"""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from exgan_jax.models import shading, warp
from exgan_jax.photo import faces, toning
from exgan_jax.photo.faces import AlignedFace
from exgan_jax.photo.photograph import Photograph

# The small frame: distance of the outer eye corners, width and height, pixels.
_UNIT, _WIDTH, _HEIGHT = 160, 416, 192
# Half axes of the hole around an eye, along the corners' line and across it,
# per distance of the outer corners, and the outer part of it that fades in:
# the lids with what they move, and not the brows.
HALF_AXES = (0.31, 0.21)
_FEATHER = 0.30
# Standard deviation of the low band, as in `models.transfer` at an eye distance
# of 0.42 of the picture's side.
_SIGMA = 0.093

# Less detail at the eyes than this, per that of the face around them, means
# that no eyes are to be seen.
_DETAIL = 0.8
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
# Where the frame has the corners, and the centres between two of them.
_FRAME_CORNERS = np.array(
  [(_WIDTH / 2 + x * _UNIT, _HEIGHT / 2) for x in (-0.5, -0.18, 0.18, 0.5)]
)
_CENTRES = (_FRAME_CORNERS[:2].mean(axis=0), _FRAME_CORNERS[2:].mean(axis=0))

Corners = Float[np.ndarray, '4 2']


@dataclasses.dataclass(frozen=True)
class FrameFields:
  """The transfer network's fields in the small frame; zero by default.

  Attributes:
    flow: float32 [h, w, 2], in pixels of the frame.
    shading: float32 [h, w, 3], in [0, 1] pictures.
    contrast: float32 [h, w, 1], logarithm of the factor.
    blend: float32 [h, w, 1], share of the reference.
    paint: float32 [h, w, 3], in [0, 1] pictures.
  """

  flow: np.ndarray
  shading: np.ndarray | float = 0.0
  contrast: np.ndarray | float = 0.0
  blend: np.ndarray | float = 1.0
  paint: np.ndarray | float = 0.0


def similarity(source: Corners, target: Corners) -> Float[np.ndarray, '2 3']:
  """Least-squares similarity that takes points (x, y) onto others."""
  p, q = source - source.mean(axis=0), target - target.mean(axis=0)
  extent = max((p**2).sum(), 1e-6)
  a = (p * q).sum() / extent
  b = (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum() / extent
  linear = np.array([[a, -b], [b, a]])
  shift = target.mean(axis=0) - linear @ source.mean(axis=0)
  return np.hstack([linear, shift[:, None]])


def corners_of(*aligned: AlignedFace) -> list[Corners]:
  """The eye corners of faces in their photographs' pixels.

  Where those of any are not known all are guessed from the eyes' centres:
  points of two kinds would not match.
  """
  if all(each.face.corners is not None for each in aligned):
    return [np.array(each.face.corners) for each in aligned]
  eyes = jnp.asarray([each.face.eyes for each in aligned], jnp.float32)
  return list(np.asarray(warp.corners_of_eyes(eyes), np.float64))


def frame_matrix(corners: Corners) -> Float[np.ndarray, '2 3']:
  """From a photograph's pixels to the small frame's, by its eye corners."""
  return similarity(np.asarray(corners, np.float64), _FRAME_CORNERS)


def transplant(
  photograph: Photograph,
  reference: Photograph,
  corners: Corners,
  reference_corners: Corners,
  eyes: tuple[bool, bool] = (True, True),
  fields: FrameFields | None = None,
) -> Photograph:
  """Puts the reference's eyes into a photograph.

  Args:
    photograph: to paint in.
    reference: to take the eyes from.
    corners: of the photograph's eyes, in its pixels.
    reference_corners: likewise.
    eyes: which eyes to paint: left and right, as the viewer sees them.
    fields: of the transfer network; none for the closed form.

  Returns:
    The photograph; outside the holes its pixels are unchanged, bit for bit.
  """
  to_frame = frame_matrix(corners)
  box = _holes_box(to_frame, eyes, photograph.size)
  if box is None:
    return photograph
  from_frame = cv2.invertAffineTransform(to_frame)
  to_reference = similarity(
    np.asarray(corners, np.float64), np.asarray(reference_corners, np.float64)
  )
  flow = np.zeros((_HEIGHT, _WIDTH, 2), np.float32)
  fields = fields or FrameFields(flow)

  def of_reference(places: np.ndarray, step: float) -> np.ndarray:
    """The reference at places of the frame, in the photograph's colors."""
    at = applied(to_reference, applied(from_frame, places))
    step = step * _scale(to_reference)
    return _sampled(reference, at, step, photograph.colors_of)

  # In the frame: both pictures, and the light that makes them meet.
  grid = frame_grid()
  step = _scale(from_frame)
  target = _sampled(photograph, applied(from_frame, grid), step)
  moved = of_reference(grid + fields.flow, step)
  low = cv2.GaussianBlur(moved, (0, 0), _SIGMA * _UNIT)
  light = _ring_light(target, moved, eyes) + fields.shading
  # The same at every pixel of the photograph around the eyes.
  places = applied(to_frame, _grid(*box))

  def enlarged(field: np.ndarray | float) -> np.ndarray | float:
    if not isinstance(field, np.ndarray):
      return field
    found = cv2.remap(field, places, None, cv2.INTER_CUBIC)
    return found.reshape(*places.shape[:2], -1)

  colors = of_reference(places + enlarged(fields.flow), 1.0)
  base = enlarged(low)
  detail = np.exp(enlarged(fields.contrast)) * (colors - base)
  blend = enlarged(fields.blend)
  colors = (
    base + enlarged(light) + blend * detail
    + (1 - blend) * enlarged(fields.paint)
  )  # fmt: skip
  tones = toning.of_picture(photograph.pixels)
  if tones is not None:
    colors = tones(colors)
  left, top = box[:2]
  return photograph.blended(top, left, colors, _opacity(places, eyes))


def hole_of(
  corners: Corners, size: tuple[int, int]
) -> Float[np.ndarray, 'h w']:
  """How much of each pixel of a photograph is painted, in [0, 1]."""
  grid = _grid(0, 0, size[1], size[0])
  return _opacity(applied(frame_matrix(corners), grid), (True, True))


def shows_eyes(photograph: Photograph, corners: Corners) -> bool:
  """Whether there is as much detail at the eyes as on the face around them.

  Lids that are closed have it too: lashes and folds. Where there is none, the
  eyes are hidden or smeared, and landmarks there are a guess. The ratio of the
  two deviations was 0.87 or more on 61 real blinks, and 0.99 or less on 64 of
  65 portraits whose eyes had been erased.
  """
  back = cv2.invertAffineTransform(frame_matrix(corners))
  grid = frame_grid()
  seen = _sampled(photograph, applied(back, grid), _scale(back)) @ _LUMINANCE
  fine = seen - cv2.GaussianBlur(seen, (0, 0), 3)
  eye = np.zeros(fine.shape, bool)
  hole = np.zeros(fine.shape, bool)
  for centre in _CENTRES:
    outwards = _outwards(grid, centre)
    eye |= outwards < 0.6
    hole |= outwards < 1.2
  middle = np.array([_WIDTH, _HEIGHT]) / 2
  near = (np.abs(grid - middle) < np.array([0.75, 0.55]) * _UNIT).all(axis=-1)
  return bool(fine[eye].std() > _DETAIL * fine[near & ~hole].std())


def _scale(matrix: Float[np.ndarray, '2 3']) -> float:
  """By how much a similarity enlarges."""
  return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def _grid(left: int, top: int, right: int, bottom: int) -> np.ndarray:
  x, y = np.meshgrid(np.arange(left, right), np.arange(top, bottom))
  return np.stack([x, y], axis=-1).astype(np.float32)


def frame_grid() -> Float[np.ndarray, 'h w 2']:
  """The position (x, y) of every pixel of the small frame."""
  return _grid(0, 0, _WIDTH, _HEIGHT)


def applied(
  matrix: Float[np.ndarray, '2 3'], places: Float[np.ndarray, 'h w 2']
) -> Float[np.ndarray, 'h w 2']:
  """Moves positions (x, y) by a matrix."""
  return cv2.transform(places, matrix.astype(np.float64)).astype(np.float32)


def _holes_box(
  to_frame: np.ndarray, eyes: tuple[bool, bool], size: tuple[int, int]
) -> tuple[int, int, int, int] | None:
  """Left, top, right, bottom of what may change; None if it is outside."""
  edges = []
  for centre, is_painted in zip(_CENTRES, eyes, strict=True):
    if is_painted:
      reach = np.array(HALF_AXES) * _UNIT
      edges += [
        centre + reach * (x, y) for x, y in itertools.product((-1, 1), repeat=2)
      ]
  if not edges:
    return None
  back = cv2.invertAffineTransform(to_frame)
  corners = np.array(edges) @ back[:, :2].T + back[:, 2]
  low = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
  high = np.ceil(corners.max(axis=0)).astype(int) + 1
  high = np.minimum(high, size[::-1])
  return (*low.tolist(), *high.tolist()) if (high > low).all() else None


def _outwards(places: np.ndarray, centre: np.ndarray) -> np.ndarray:
  """0 at the centre of an eye's hole, 1 at its edge."""
  offset = (places - centre) / (np.array(HALF_AXES, np.float32) * _UNIT)
  return np.hypot(offset[..., 0], offset[..., 1])


def _opacity(places: np.ndarray, eyes: tuple[bool, bool]) -> np.ndarray:
  """1 in the holes, falling smoothly to 0 at their edges."""
  opacity = np.zeros(places.shape[:2], np.float32)
  for centre, is_painted in zip(_CENTRES, eyes, strict=True):
    if is_painted:
      t = np.clip((1 - _outwards(places, centre)) / _FEATHER, 0, 1)
      opacity = np.maximum(opacity, t * t * (3 - 2 * t))
  return opacity


def _ring_light(
  target: np.ndarray, moved: np.ndarray, eyes: tuple[bool, bool]
) -> np.ndarray:
  """What to add to the reference, continued harmonically into the holes."""
  grid = frame_grid()
  known = np.ones((_HEIGHT, _WIDTH, 1), np.float32)
  for centre, is_painted in zip(_CENTRES, eyes, strict=True):
    if is_painted:
      known[_outwards(grid, centre) < 1 - _FEATHER / 2] = 0
  light = _filled(target - moved, known)
  return cv2.resize(light, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_LINEAR)


def _filled(values: np.ndarray, known: np.ndarray) -> np.ndarray:
  half = (_WIDTH // 2, _HEIGHT // 2)
  weight = cv2.resize(known, half, interpolation=cv2.INTER_AREA)[..., None]
  total = cv2.resize(values * known, half, interpolation=cv2.INTER_AREA)
  mean = total / np.maximum(weight, 1e-3)
  return np.asarray(_fill_holes(mean[None], weight[None])[0])


_fill_holes = jax.jit(shading.fill_holes)


def _sampled(
  photograph: Photograph,
  at: Float[np.ndarray, 'h w 2'],
  step: float,
  convert=lambda colors, _: colors,
) -> Float[np.ndarray, 'h w 3']:
  """Colors of a photograph in [0, 1], sampled bicubically.

  Args:
    photograph: to sample.
    at: where, as (x, y) in pixels. The nearest edge pixel outside the frame.
    step: pixels of the photograph between two places; more than one are
      averaged.
    convert: from the photograph's colors to others.
  """
  height, width = photograph.size
  margin = 4 + 2 * int(step)
  low = np.floor(at.min(axis=(0, 1))).astype(int) - margin
  high = np.ceil(at.max(axis=(0, 1))).astype(int) + margin
  left, top = np.clip(low, 0, (width - 1, height - 1))
  right, bottom = np.clip(high, (left + 1, top + 1), (width, height))
  part = photograph.colors(slice(top, bottom), slice(left, right))
  part, factor = faces.reduce(part, step)
  if step / factor > 1:
    sigma = 0.5 * np.sqrt((step / factor) ** 2 - 1)
    part = cv2.GaussianBlur(part, (0, 0), sigma)
  part = convert(part, photograph)
  at = (at - np.array([left, top], np.float32) + np.float32(0.5)) / factor
  at -= np.float32(0.5)
  return cv2.remap(
    part, at.astype(np.float32), None, cv2.INTER_CUBIC,
    borderMode=cv2.BORDER_REPLICATE,
  )  # fmt: skip
