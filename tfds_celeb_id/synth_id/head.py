"""The relief of the head and the light on it.

Positions are in head coordinates: the origin is between the eyes, x points
right and y down in the picture, and the unit is the mean eye distance. Pictures
are planar, float32 [3, h, w], linear RGB, so that masks of shape [h, w]
broadcast fast. Nothing here depends on the traits of the eyes.
"""

import math

import cv2
import numpy as np

from tfds_celeb_id.synth_id.traits import Person, Scene

EYE_DISTANCE = 0.29  # of the picture's width
EYE_HEIGHT = 0.415  # of the picture's height


def linear(rgb) -> np.ndarray:
  """Returns linear RGB, float32 [3, 1, 1], of sRGB 0..255 (IEC 61966-2-1)."""
  c = np.asarray(rgb, np.float32).reshape(3, 1, 1) / 255
  return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def tint(red: float, green: float, blue: float) -> np.ndarray:
  """Returns gains of the three planes, float32 [3, 1, 1]."""
  return np.array([red, green, blue], np.float32).reshape(3, 1, 1)


def gauss(x):
  """exp(-x²)."""
  return np.exp(-(x * x))


def smoothstep(low, high, x):
  """Rises smoothly from 0 at `low` to 1 at `high`."""
  # In place, as the renderer spends most of its time here.
  t = x - low
  t *= 1 / (high - low)
  np.clip(t, 0, 1, out=t)
  rise = -2 * t
  rise += 3
  rise *= t
  rise *= t
  return rise


def bump(x, y, at_x, at_y, wide, high):
  """A Gaussian hill of height 1."""
  dx, dy = (x - at_x) * (1 / wide), (y - at_y) * (1 / high)
  return np.exp(-(dx * dx + dy * dy))


def over(image, color, alpha) -> None:
  """Blends a color or a picture into a linear picture, in place."""
  colors = np.broadcast_to(color, (3, *np.shape(color)[1:]))
  for plane, new in zip(image, colors, strict=True):
    change = new - plane
    change *= alpha
    plane += change


def noise(rng, shape, cells) -> np.ndarray:
  """Returns smooth noise, about -1..1, of `cells` (rows, columns) values."""
  grid = rng.standard_normal(cells, np.float32) * 0.6
  return cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)


class Head:
  """A head in a scene.

  Args:
    person: the person.
    scene: pose and expression.
    pixels: side of the square picture.
  """

  def __init__(self, person: Person, scene: Scene, pixels: int):
    self.person, self.scene, self.pixels = person, scene, pixels
    self.unit = EYE_DISTANCE * pixels * scene.scale
    self.origin = pixels * np.array(
      [0.5 + scene.offset[0], EYE_HEIGHT + scene.offset[1]]
    )
    center = np.arange(pixels, dtype=np.float32) + np.float32(0.5)
    across, down = np.meshgrid(
      (center - float(self.origin[0])) / self.unit,
      (center - float(self.origin[1])) / self.unit,
    )
    c, s = math.cos(scene.roll), math.sin(scene.roll)
    self.x, self.y = c * across + s * down, c * down - s * across
    # Points in front of the plane of the eyes move with the nose.
    self.skull_x = self.x + 0.35 * scene.yaw
    self.skull_y = self.y + 0.2 * scene.pitch

  def to_pixels(self, x, y) -> np.ndarray:
    """Returns picture coordinates (x, y) of head coordinates."""
    c, s = math.cos(self.scene.roll), math.sin(self.scene.roll)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    at = np.stack([c * x - s * y, s * x + c * y], -1)
    return self.origin + self.unit * at

  def eye(self, side: int) -> tuple[float, float]:
    """Returns head coordinates of an eye, -1 for the left in the picture."""
    half = 0.5 * self.person.face.spacing * math.cos(self.scene.yaw)
    return side * half + 0.03 * self.scene.yaw, 0.0

  def nose(self, depth: float) -> tuple[float, float]:
    """Returns the shift (x, y) of a point `depth` in front of the eyes."""
    yaw, pitch = self.scene.yaw, self.scene.pitch
    return depth * math.sin(yaw), depth * math.sin(pitch)

  def window(self, x: float, y: float, wide: float, tall: float):
    """Returns slices of the pixels within `wide` and `tall` of a point."""
    at = self.to_pixels(x, y)
    reach = self.unit * np.array([wide, tall])
    low = np.clip(np.floor(at - reach), 0, self.pixels).astype(int)
    high = np.clip(np.ceil(at + reach), 0, self.pixels).astype(int)
    return np.s_[..., low[1] : high[1], low[0] : high[0]]

  def outline(self) -> np.ndarray:
    """Returns a squared radius: 0 in the middle of the face, 1 at its edge."""
    face, x, y = self.person.face, self.skull_x, self.skull_y
    below = np.maximum(y - 0.25, 0) / (face.length - 0.25)
    above = np.maximum(0.25 - y, 0) / 1.72
    narrow = 1 - 0.3 * face.jaw * below - 0.06 * above
    wide = np.abs(x) / (face.width * narrow)
    return wide**2.3 + below**2.7 + above**2.3

  def relief(self, outline: np.ndarray) -> np.ndarray:
    """Returns the height towards the camera; takes `self.outline()`."""
    f, scene, x, y = self.person.face, self.scene, self.x, self.y
    inside = np.maximum(1 - outline, 0)
    z = np.sqrt(inside + 0.01)
    side = np.abs(x)
    z -= 0.13 * bump(side, y, 0.46, 0.03, 0.3, 0.2)  # sockets
    z += 0.08 * bump(side, y, 0.42, -0.36, 0.34, 0.13)  # brow ridge
    z += 0.05 * bump(x, y, 0, -0.75, 0.6, 0.35)  # forehead
    lift = 0.1 * max(scene.smile, 0)
    z += (0.05 + 0.07 * f.cheeks + 0.6 * lift) * bump(
      side, y, 0.6, 0.5 - lift, 0.28, 0.24
    )
    z += self._nose_relief()
    dx, dy = self.nose(0.25)
    mouth = self.mouth_y() + dy
    z += 0.1 * bump(x, y, dx, mouth, 0.42, 0.26)
    z -= 0.05 * bump(x, y, dx, mouth + 0.24, 0.2, 0.07)  # under the lip
    z += 0.09 * bump(x, y, dx * 0.8, f.length - 0.2, 0.25, 0.17)  # chin
    z -= 0.025 * bump(x, y, dx, mouth - 0.2, 0.045, 0.1)  # philtrum
    return z

  def _nose_relief(self) -> np.ndarray:
    f, x, y = self.person.face, self.x, self.y
    tip_x, tip_y = self.nose(0.4)
    tip = f.nose_length + tip_y
    along = (y + 0.12) / (tip + 0.12)
    middle = tip_x * np.clip(along, 0, 1)
    wide = (0.115 + 0.05 * np.clip(along, 0, 1)) * f.nose_width
    ridge = smoothstep(-0.6, 1.1, along) * smoothstep(1.24, 0.92, along)
    z = 0.26 * ridge * gauss((x - middle) / wide)
    z += 0.13 * bump(x, y, tip_x, tip - 0.02, 0.15 * f.nose_width, 0.13)
    wing = 0.19 * f.nose_width
    for side in (-1, 1):
      at = tip_x * 0.8 + side * wing
      z += 0.1 * bump(x, y, at, tip + 0.03, 0.09, 0.085)
    return z * f.nose_height

  def mouth_y(self) -> float:
    """Returns how far the closed mouth is below the eyes in a frontal view."""
    f = self.person.face
    return f.nose_length + 0.4 * (f.length - f.nose_length)


def shade(head: Head, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Lights a relief.

  Returns:
    The diffuse light on each pixel, planar (linear gains, about 1 for a surface
    that faces the camera), and the specular light.
  """
  scene = head.scene
  to_light = np.array(scene.light, np.float32)
  dx = cv2.Sobel(z, -1, 1, 0, ksize=3, scale=head.unit / 8)
  dy = cv2.Sobel(z, -1, 0, 1, ksize=3, scale=head.unit / 8)
  length = 1 / np.sqrt(1 + dx * dx + dy * dy)
  facing = (to_light[2] - to_light[0] * dx - to_light[1] * dy) * length
  # Skin scatters light, so the edge of its shadow is soft.
  diffuse = np.maximum((facing + 0.25) * 0.8, 0)
  shadow = np.zeros_like(z)
  slope = to_light[2] / max(float(np.hypot(*to_light[:2])), 1e-3)
  for reach in (0.06, 0.13, 0.21, 0.3):
    step = reach * head.unit * to_light[:2] / np.hypot(*to_light[:2])
    move = np.array([[1, 0, -step[0]], [0, 1, -step[1]]], np.float32)
    moved = cv2.warpAffine(z, move, z.shape, borderMode=cv2.BORDER_REPLICATE)
    shadow = np.maximum(shadow, (moved - z) - reach * slope)
  shadow = cv2.GaussianBlur(shadow, (0, 0), 0.03 * head.unit)
  diffuse *= 1 - 0.65 * smoothstep(0.0, 0.1, shadow)
  # Hollows get less ambient light.
  hollow = cv2.GaussianBlur(z, (0, 0), 0.16 * head.unit) - z
  sky = np.clip(1 - 2.2 * hollow, 0.35, 1.1) * (0.55 + 0.45 * length)
  sky *= 1 - 0.12 * dy * length
  level = max((float(to_light[2]) + 0.25) * 0.8, 0.3)
  key = (1 - scene.ambient) * diffuse / level
  light = key * tint(*scene.light_rgb) + scene.ambient * sky
  half = to_light + np.array([0, 0, 1], np.float32)
  half /= np.linalg.norm(half)
  gloss = np.maximum((half[2] - half[0] * dx - half[1] * dy) * length, 0) ** 18
  gloss *= (1 - scene.ambient) * (1 - smoothstep(0.0, 0.1, shadow))
  return light * scene.exposure, gloss * scene.exposure
