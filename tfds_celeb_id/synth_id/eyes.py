"""Paints lids, lashes, sclera and iris into two small boxes.

Only this module uses `EyeTraits`, and it changes no pixel farther than
`BOX / 2` from an eye's center. Lengths are in units of the mean eye distance;
u points to the temple and v down. Pictures are planar, as in `head`.
"""

import math

import cv2
import numpy as np

from tfds_celeb_id.synth_id.head import (
  Head,
  gauss,
  linear,
  over,
  smoothstep,
  tint,
)
from tfds_celeb_id.synth_id.traits import EyeTraits, stream

BOX = 22 / 128  # side of the painted box over the picture's side
_OVERSAMPLING = 2  # of the eyes over the rest of the picture


class _Lids:
  """The lids of an eye over its box; `t` is -1 at the inner corner."""

  def __init__(self, u, v, eyes: EyeTraits, blink: float, soft: float):
    c, s = math.cos(eyes.tilt), math.sin(eyes.tilt)
    self.u, self.v = c * u - s * v, c * v + s * u
    self.half = eyes.width / 2
    self.height = height = eyes.width * eyes.openness
    self.t = t = np.clip(self.u * (1 / self.half), -1.3, 1.3)
    inside = np.maximum(1 - t * t, 0)
    # The upper lid is highest off the middle, the lower lid lowest outwards.
    rise = 1 - np.abs(t - 0.6 * eyes.peak * inside) ** 2.3
    sag = 1 - np.abs(t - 0.25 * inside) ** 2.1
    self.wide_open = -0.62 * height * np.maximum(rise, 0)
    self.lower = (0.38 - 0.1 * blink) * height * np.maximum(sag, 0)
    self.upper = self.wide_open + blink * (self.lower - self.wide_open)
    self.span = smoothstep(1.12, 0.9, np.abs(t))
    self.opening = smoothstep(-soft, soft, self.v - self.upper)
    self.opening *= smoothstep(-soft, soft, self.lower - self.v)
    self.opening *= smoothstep(1.0, 0.96, np.abs(t))


def _paint_lids(skin, lids: _Lids, eyes: EyeTraits, blink: float) -> None:
  """Paints the folds of the skin around the opening."""
  span, above, below = lids.span, lids.upper - lids.v, lids.v - lids.lower
  shade = np.ones_like(lids.v)
  # A lid is skin over a ball: bright in its middle, dark in the crease.
  if eyes.crease > 0:
    height = eyes.crease + 0.62 * blink * lids.height
    fold = above - height * (0.5 + 0.5 * span)
    deep = smoothstep(1.15, 0.4, np.abs(lids.t))
    line = gauss(fold * (1 / (0.017 + 0.006 * blink)))
    hollow = gauss((fold - 0.03) * (1 / 0.045)) * (1 - 0.6 * blink)
    shade *= 1 - deep * ((0.5 - 0.22 * blink) * line + 0.2 * hollow)
  middle = (lids.v - 0.5 * (lids.wide_open + lids.lower)) * (1 / 0.13)
  ball = gauss(middle + 0.35) * np.maximum(1 - lids.t**2, 0)
  shade *= 1 + 0.22 * blink * ball
  shade *= 1 - 0.2 * span * gauss((below - 0.075) * (1 / 0.025))
  shade *= 1 + 0.14 * span * gauss((below - 0.025) * (1 / 0.018))
  nose_side = np.hypot(lids.t + 1.12, lids.v * (1 / lids.half))
  shade *= 1 - 0.25 * gauss(nose_side * (1 / 0.3))
  skin *= shade


def _paint_lashes(skin, lids: _Lids, eyes: EyeTraits, blink: float) -> None:
  color = linear((26, 17, 14))
  outer = 0.65 + 0.35 * smoothstep(-0.9, 0.5, lids.t)
  wide = 0.017 + 0.012 * eyes.lashes
  rim = gauss((lids.v - lids.upper + 0.006) * (1 / wide))
  over(skin, color, lids.span * outer * rim * (0.72 + 0.26 * eyes.lashes))
  low = gauss((lids.v - lids.lower) * (1 / 0.011)) * (1 - blink)
  over(skin, color, lids.span * outer * low * (0.22 + 0.3 * eyes.lashes))
  # Single lashes point up from an open lid and down from a closed one.
  away = (lids.upper - lids.v) * (1 - 2 * float(blink > 0.8))
  length = (0.025 + 0.045 * eyes.lashes) * outer
  comb = 0.5 + 0.5 * np.sin(80 * lids.u - 160 * away * lids.t)
  teeth = smoothstep(-0.005, 0.005, away) * smoothstep(1, 0.2, away / length)
  over(skin, color, 0.8 * eyes.lashes * lids.span * outer * teeth * comb)


def _fibres(rho, angle, eyes: EyeTraits, side: int) -> np.ndarray:
  """Fibres of the iris, -1..1 about 0, over its polar coordinates."""
  rng = stream(eyes.pattern_seed, 'left' if side < 0 else 'right')
  table = rng.standard_normal((5, 32), np.float32)
  column = (angle * (16 / math.pi) + 16).astype(np.float32)
  row = (rho * 3).astype(np.float32)
  return np.tanh(
    cv2.remap(table, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
  )


def _paint_ball(ball, lids: _Lids, head: Head, side: int, light) -> None:
  """Paints sclera, caruncle, iris, pupil and highlights, and their shadow."""
  eyes, scene = head.person.eyes, head.scene
  radius, soft = eyes.iris_radius, 1.5 / (head.unit * _OVERSAMPLING)
  at_u, at_v = _gaze(head, side)
  du, dv = lids.u - at_u, lids.v - at_v
  far = np.hypot(du, dv)
  rho = far * (1 / radius)

  across = np.minimum(np.abs(lids.t), 1)
  ball[:] = linear((206, 197, 192)) * (1 - 0.5 * across * across)
  over(ball, linear((186, 112, 100)), 0.9 * smoothstep(-0.7, -0.95, lids.t))

  base = linear(eyes.iris_rgb)
  iris = base * (1 + 0.3 * _fibres(rho, np.arctan2(dv, du), eyes, side))
  ring = gauss((rho - scene.pupil - 0.08) * (1 / 0.13)) * 0.4 * eyes.collarette
  over(iris, base * tint(1.5, 1.1, 0.75), ring)
  # Light enters on one side and brightens the other.
  lx, ly, _ = scene.light
  iris *= 1 - 0.2 * (du * (side * lx) + dv * ly) * (1 / radius)
  iris *= 1 - 0.65 * eyes.limbal_ring * smoothstep(0.76, 1.0, rho)
  over(ball, iris, smoothstep(radius + soft, radius - soft, far))
  pupil = scene.pupil * radius
  over(ball, linear((10, 8, 8)), smoothstep(pupil + soft, pupil - soft, far))

  cast = 1 - 0.62 * smoothstep(0.085, -0.01, lids.v - lids.upper)
  cast *= 1 - 0.25 * smoothstep(0.03, 0.0, lids.lower - lids.v)
  ball *= cast * light
  spot = np.hypot(du - 0.55 * radius * side * lx, dv - 0.55 * radius * ly)
  over(
    ball, scene.exposure, 0.95 * smoothstep(0.023 + soft, 0.023 - soft, spot)
  )
  spot = np.hypot(du + 0.5 * radius * side * lx, dv - 0.45 * radius)
  over(ball, 0.7 * scene.exposure, 0.3 * gauss(spot * (1 / 0.022)))


def _gaze(head: Head, side: int) -> tuple[float, float]:
  """Center of the iris in the coordinates of `_Lids`."""
  eyes, scene = head.person.eyes, head.scene
  u = side * (scene.gaze[0] * eyes.iris_radius + 0.02 * scene.yaw)
  v = scene.gaze[1] * eyes.iris_radius - 0.05 * eyes.width * eyes.openness
  return u, v


def _narrowing(head: Head, side: int) -> float:
  # The eye on the far side of a turned head is narrower.
  return 1 - 0.25 * max(side * head.scene.yaw, 0)


def iris(head: Head, side: int) -> tuple[float, float, float]:
  """Returns x, y and the radius of an iris in pixels of the head's picture.

  Args:
    head: the head.
    side: -1 for the eye on the left in the picture, 1 for the right.
  """
  x, y = _to_pixels(head, side, *_gaze(head, side))
  return x, y, head.person.eyes.iris_radius * head.unit


def corners(
  head: Head, side: int
) -> tuple[tuple[float, float], tuple[float, float]]:
  """Returns the outer and the inner corner (x, y); arguments as in `iris`."""
  half = head.person.eyes.width / 2
  return _to_pixels(head, side, half, 0), _to_pixels(head, side, -half, 0)


def _to_pixels(
  head: Head, side: int, u: float, v: float
) -> tuple[float, float]:
  """Converts coordinates of `_Lids` to pixels of the head's picture."""
  tilt, roll = head.person.eyes.tilt, head.scene.roll
  # Undo the tilt of the lids, then the roll of the head.
  u, v = (
    math.cos(tilt) * u + math.sin(tilt) * v,
    math.cos(tilt) * v - math.sin(tilt) * u,
  )
  x, y = u * side * head.unit * _narrowing(head, side), v * head.unit
  at_x, at_y = head.to_pixels(*head.eye(side))
  return (
    float(at_x + math.cos(roll) * x - math.sin(roll) * y),
    float(at_y + math.sin(roll) * x + math.cos(roll) * y),
  )


def paint_eye(
  picture: np.ndarray,
  light: np.ndarray,
  head: Head,
  side: int,
  closed: bool,
  blur: float,
) -> None:
  """Paints one eye over the skin, in place.

  Args:
    picture: float32 [3, n, n], linear RGB; the skin is already painted.
    light: float32 [3, n, n], the light on the skin.
    head: the head, of n pixels.
    side: -1 for the eye on the left in the picture, 1 for the right.
    closed: close the lids, whatever the scene says.
    blur: standard deviation of the blur of the lens in pixels of the picture.
  """
  scene, eyes, fine = head.scene, head.person.eyes, _OVERSAMPLING
  at_x, at_y = head.to_pixels(*head.eye(side))
  half = BOX / 2 * head.pixels
  left, right = math.ceil(at_x - half), math.floor(at_x + half)
  top, bottom = math.ceil(at_y - half), math.floor(at_y + half)
  window = np.s_[:, top:bottom, left:right]
  skin = _resize(picture[window], (right - left) * fine, (bottom - top) * fine)

  x = np.arange(skin.shape[2]) / fine + (0.5 / fine + left - at_x)
  y = np.arange(skin.shape[1]) / fine + (0.5 / fine + top - at_y)
  x, y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
  c, s = math.cos(scene.roll), math.sin(scene.roll)
  u = (c * x + s * y) * (side / (head.unit * _narrowing(head, side)))
  v = (c * y - s * x) * (1 / head.unit)

  blink = 1.0 if closed else scene.blink
  lids = _Lids(u, v, eyes, blink, 1.2 / (head.unit * fine))
  painted = skin.copy()
  _paint_lids(painted, lids, eyes, blink)
  if not closed:
    ball = np.empty_like(skin)
    # Eyes are moist and lie deep in their sockets, so their light is even.
    middle = light[window][:, skin.shape[1] // 4, skin.shape[2] // 4]
    even = 0.5 * middle.reshape(3, 1, 1) + np.float32(0.5 * scene.exposure)
    _paint_ball(ball, lids, head, side, even)
    over(painted, ball, lids.opening)
  _paint_lashes(painted, lids, eyes, blink)
  for plane in painted:
    cv2.GaussianBlur(plane, (0, 0), blur * fine, dst=plane)
  edge = np.maximum(np.abs(x), np.abs(y)) * (1 / half)
  over(skin, painted, smoothstep(0.99, 0.88, edge))
  picture[window] = _resize(skin, right - left, bottom - top)


def _resize(planes: np.ndarray, width: int, height: int) -> np.ndarray:
  """Resizes a planar picture; shrinks by area."""
  grows = width > planes.shape[2]
  how = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
  return np.stack(
    [cv2.resize(p, (width, height), interpolation=how) for p in planes]
  )
