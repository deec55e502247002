"""Paints skin, lips, nostrils, beard, brows, neck, ears and glasses."""

import math

import cv2
import numpy as np

from tfds_celeb_id.synth_id.head import (
  Head,
  bump,
  gauss,
  linear,
  noise,
  over,
  smoothstep,
  tint,
)
from tfds_celeb_id.synth_id.traits import stream

_SHIFT = 4  # fractional bits of OpenCV's line coordinates
_EYE_BOX = 0.35  # half the side of the largest region painted by `eyes`


def paint_neck(picture, head: Head) -> None:
  """Paints neck and clothes."""
  face, scene, x, y = head.person.face, head.scene, head.skull_x, head.skull_y
  window = head.window(0, 2.0, 3.0, 1.4)
  x, y, picture = x[window], y[window], picture[window]
  from_light = 0.5 + 0.35 * np.clip(x * scene.light[0], -1, 1)
  rounded = from_light * (1 - 0.3 * np.minimum((x * 1.25) ** 2, 1))
  wide = 0.74 * face.width + 0.5 * smoothstep(1.7, 2.4, y)
  soft = 1.5 / head.unit
  cast = 1 - 0.5 * smoothstep(0.4, 0.0, y - face.length)
  neck = smoothstep(wide + soft, wide - soft, np.abs(x))
  color = linear(face.skin_rgb) * scene.exposure
  over(picture, color * (rounded * cast), neck)

  collar = face.length + 0.34 - 0.6 * (np.abs(x) - 0.55)
  cloth = smoothstep(-soft, soft, y - np.maximum(collar, face.length + 0.1))
  rng = stream(scene.noise_seed, 'cloth')
  weave = 1 + 0.25 * noise(rng, y.shape, (5, 12))
  color = linear(scene.clothes_rgb) * (0.8 * scene.exposure)
  over(picture, color * (weave * (0.5 + from_light)), cloth)


def paint_ears(picture, head: Head) -> None:
  """Paints the ears; the one on the far side of a turned head is smaller."""
  face, scene = head.person.face, head.scene
  for side in (-1, 1):
    at_x, at_y = side * face.width * 0.99, 0.2 + 0.1 * scene.pitch
    window = head.window(at_x - 0.35 * scene.yaw, at_y, 0.25, 0.5)
    x, y = head.skull_x[window], head.skull_y[window]
    far = np.hypot((x - at_x) * (1 / 0.13), (y - at_y) * (1 / 0.33))
    tone = 0.8 + 0.35 * side * scene.light[0]
    shell = 1 - 0.45 * gauss((far - 0.62) * (1 / 0.2))
    color = linear(face.skin_rgb) * tint(1.0, 0.84, 0.8) * scene.exposure
    seen = min(max(1 - 2.5 * side * scene.yaw, 0), 1)
    cover = seen * smoothstep(1.08, 0.92, far)
    over(picture[window], color * (max(tone, 0.3) * shell), cover)


def paint_face(picture, head: Head, outline, light, gloss) -> None:
  """Paints the lit skin of the face with lips, nostrils and beard."""
  skin = _albedo(head)
  wet = np.full_like(gloss, 0.05)
  _paint_folds(skin, head)
  _paint_beard(skin, head)
  window = head.window(head.nose(0.27)[0], head.mouth_y(), 0.8, 0.55)
  _paint_mouth(skin[window], wet[window], head, window)
  soft = 2.2 / head.unit
  cover = smoothstep(1 + soft, 1 - soft, outline)
  over(picture, skin * light + gloss * wet, cover)


def _albedo(head: Head) -> np.ndarray:
  """Returns the color of the bare skin with spots and blush."""
  face, x, y = head.person.face, head.x, head.y
  rng = stream(face.texture_seed, 'skin')
  spots = 1 + noise(rng, x.shape, (9, 9)) * 0.06
  spots += noise(rng, x.shape, (36, 36)) * 0.04
  spots += noise(rng, x.shape, (100, 100)) * 0.045
  if face.freckles:
    dots = smoothstep(0.5, 1.2, noise(rng, x.shape, (64, 64)))
    spots -= 0.4 * face.freckles * dots * bump(x, y, 0, 0.45, 0.8, 0.35)
  middle = head.nose(0.15)[0]
  blush = bump(np.abs(x - middle), y, 0.62, 0.55, 0.32, 0.26)
  tip_x, tip_y = head.nose(0.4)
  blush += 0.8 * bump(x, y, tip_x, face.nose_length + tip_y, 0.2, 0.2)
  base = linear(face.skin_rgb)
  return base * (1 - tint(0.0, 0.12, 0.13) * blush) * spots


def _paint_folds(skin, head: Head) -> None:
  """Paints nostrils, and the folds from the nose to the mouth."""
  face, scene = head.person.face, head.scene
  tip_x, tip_y = head.nose(0.34)
  at_y = face.nose_length + 0.8 * tip_y + 0.065
  window = head.window(tip_x, at_y + 0.2, 0.75, 0.5)
  x, y, skin = head.x[window] - tip_x, head.y[window] - at_y, skin[window]
  side = np.abs(x)
  slot = np.hypot(
    (side - 0.1 * face.nose_width) * (1 / 0.07),
    (y + 0.3 * (side - 0.1)) * (1 / 0.034),
  )
  seen = min(0.8 - 1.5 * scene.pitch, 0.95)
  base = bump(x, y, 0, 0.05, 0.17 * face.nose_width, 0.05)
  over(skin, skin * tint(0.55, 0.42, 0.4), 0.6 * base)
  over(skin, skin * tint(0.2, 0.1, 0.09), seen * np.exp(-(slot**3)))
  down = y * (1 / 0.5)
  line = 0.25 * face.nose_width + 0.22 * np.maximum(down, 0)
  fold = gauss((np.abs(x + 0.2 * tip_x) - line) * (1 / 0.04))
  fold *= smoothstep(-0.25, 0.15, down) * smoothstep(1.1, 0.4, down)
  deep = 0.15 + 0.35 * max(scene.smile, 0)
  over(skin, skin * tint(0.55, 0.42, 0.4), deep * fold)


def _paint_beard(skin, head: Head) -> None:
  face = head.person.face
  if face.beard + face.moustache == 0:
    return
  window = head.window(0, 1.3, 1.7, 1.0)
  x, y, skin = head.x[window], head.y[window], skin[window]
  rng = stream(face.texture_seed, 'beard')
  hairs = noise(rng, y.shape, (90, 130))
  ragged = 0.07 * hairs + 0.06 * noise(rng, y.shape, (12, 20))
  mouth_x, mouth_y = head.nose(0.25)
  mouth_y = mouth_y + head.mouth_y()
  slant = 0.75 * (np.abs(head.skull_x[window]) - 0.75)
  cheeks = smoothstep(0.7, 1.05, y + slant + ragged)
  near = np.hypot((x - mouth_x) * (1 / 0.56), (y - mouth_y) * (1 / 0.2))
  jaw = cheeks * smoothstep(0.8, 1.15, near + ragged)
  above = mouth_y - 0.16 + 0.2 * (x - mouth_x) ** 2
  lip = gauss(((y - above + 0.5 * ragged) * (1 / 0.085)) ** 2)
  lip *= smoothstep(0.52, 0.38, np.abs(x - mouth_x) + ragged)
  cover = np.maximum(face.beard * jaw, min(face.beard, 1) * lip)
  cover = np.maximum(cover, 0.9 * face.moustache * lip)
  tone = 0.8 * linear(head.person.hair.rgb) * np.maximum(1 + 0.5 * hairs, 0.3)
  over(skin, tone, cover * (0.85 + 0.12 * hairs))


def _paint_mouth(skin, wet, head: Head, window) -> None:
  """Paints lips, mouth and teeth into a window of the skin."""
  face, scene = head.person.face, head.scene
  dx, dy = head.nose(0.27)
  smile, opened = scene.smile, scene.mouth_open
  wide = face.mouth_width * (1 + 0.18 * smile - 0.06 * opened)
  x, y = head.x[window] - dx, head.y[window] - dy - head.mouth_y()
  t = np.clip(x * (1 / wide), -1.2, 1.2)
  bow = np.maximum(1 - t * t, 0)
  middle = -0.1 * smile * (t * t - 0.35)
  gap = 0.15 * opened * bow**0.8
  upper_in, lower_in = middle - 0.35 * gap, middle + 0.65 * gap
  cupid = 1 - 0.25 * gauss(t * (1 / 0.15))
  upper = 0.1 * face.lip_height * bow**0.8 * cupid
  lower = 0.13 * face.lip_height * bow**0.8
  soft, blurred = 1.4 / head.unit, 2.2 / head.unit
  lips = smoothstep(-blurred, blurred, y - upper_in + upper)
  lips *= smoothstep(-blurred, blurred, lower_in + lower - y)
  lips *= smoothstep(1.03, 0.93, np.abs(t))
  redness = 0.5 + 0.5 * face.lip_redness
  tone = linear(face.skin_rgb) * (1 - redness * tint(0.14, 0.62, 0.54))
  # The upper lip faces down and is darker; the lower lip has a bright ridge.
  ridge = gauss((y - lower_in - 0.42 * lower) * (1 / 0.04))
  full = np.where(y < 0.5 * (upper_in + lower_in), 0.68, 0.82 + 0.35 * ridge)
  over(skin, tone * full, 0.92 * lips)

  inner = smoothstep(-soft, soft, y - upper_in)
  inner *= smoothstep(-soft, soft, lower_in - y) * (np.abs(t) < 1)
  row = smoothstep(0.05 + 0.09 * opened, 0.03 + 0.05 * opened, y - upper_in)
  row *= smoothstep(0.9, 0.6, np.abs(t)) * min(max(3 * smile, 0), 1)
  gaps = 1 - 0.2 * gauss((np.abs((x * (1 / 0.085)) % 1 - 0.5)) * (1 / 0.12))
  inside = tint(0.045, 0.014, 0.012) * np.ones_like(y)
  over(inside, linear((214, 204, 190)) * (gaps * (1 - 0.6 * t * t)), row)
  over(skin, inside, inner)
  line = gauss((y - 0.5 * (upper_in + lower_in)) * (1 / 0.02))
  line *= smoothstep(1.1, 0.95, np.abs(t)) * smoothstep(0.05, 0.0, gap)
  over(skin, tone * 0.2, 0.85 * line)
  corners = bump(np.abs(x), y - middle, wide, 0, 0.05, 0.045)
  over(skin, skin * 0.4, 0.6 * corners)
  chin = bump(x, y - lower_in - lower, 0, 0.055, 0.26, 0.05)
  over(skin, skin * tint(0.62, 0.55, 0.52), 0.45 * chin * (1 - lips))
  wet += 0.1 * lips * (1 - inner) * face.lip_redness


def paint_brows(picture, head: Head, light) -> None:
  """Paints the brows hair by hair, above the eye boxes."""
  face, scene = head.person.face, head.scene
  window = head.window(0, -0.6, 1.2, 0.4)
  corner = np.array([window[2].start, window[1].start])
  layers = np.zeros((3, *head.x[window].shape), np.uint8)
  count, thick = 132, max(1, round(head.unit / 74))
  drift_x, drift_y = head.nose(0.1)
  for side in (-1, 1):
    rng = stream(face.brow_seed, 'left' if side < 0 else 'right')
    along, across = rng.uniform(0, 1, count), rng.normal(0, 0.45, count)
    taper = np.minimum(1, 1.5 - 1.15 * along) * np.minimum(1, along * 5 + 0.5)
    # From the nose outwards; the arch is at two thirds.
    x = 0.2 + 0.6 * along
    y = -face.brow_height - scene.brow_raise + 0.05 * along**3
    y = y - face.brow_arch * np.sin(np.pi * along**1.3)
    y = y + across * face.brow_thickness * taper
    lean = np.pi * (0.42 - 0.45 * along) + rng.normal(0, 0.16, count)
    length = 0.085 * rng.uniform(0.6, 1.2, count)
    x = np.stack([x, x + length * np.cos(lean)], -1)
    y = np.stack([y, y - length * np.sin(lean)], -1)
    y = np.minimum(y + 0.5 * drift_y, -_EYE_BOX - 0.03)
    ends = head.to_pixels(side * x + drift_x, y) - corner
    lines = np.rint(ends * 2**_SHIFT).astype(np.int32)[:, :, None]
    for i, layer in enumerate(layers):
      cv2.polylines(layer, lines[i::3], False, 115, thick, cv2.LINE_AA, _SHIFT)
  # Crossing lines add up between layers, but not within one call.
  alpha = layers.sum(0, dtype=np.float32) * (1 / 255)
  alpha = cv2.GaussianBlur(alpha, (0, 0), 0.012 * head.unit)
  color = linear(head.person.hair.rgb)
  color = color * min(0.6, 0.08 / float(color.mean()))
  over(picture[window], color * light[window], np.minimum(1.2 * alpha, 0.9))


def paint_glasses(picture, head: Head, light) -> None:
  """Paints thin rims around the eyes, outside their boxes."""
  face = head.person.face
  rims = np.zeros(head.x.shape, np.uint8)
  thick = max(1, round(head.unit * 0.026))
  turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
  round_x = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.7
  round_y = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.7

  def draw(x, y, closed: bool) -> None:
    line = np.rint(head.to_pixels(x, y) * 2**_SHIFT).astype(np.int32)
    cv2.polylines(rims, [line], closed, 255, thick, cv2.LINE_AA, _SHIFT)

  reach = 0.4
  inner = []
  for side in (-1, 1):
    at_x, at_y = head.eye(side)
    draw(at_x + reach * round_x, at_y + 0.06 + reach * round_y, True)
    temple = side * face.width * 0.96 - 0.35 * math.sin(head.scene.yaw)
    draw(np.array([at_x + side * reach, temple]), np.array([0.0, -0.02]), False)
    inner.append(at_x - side * reach)
  draw(np.array(inner), np.full(2, 0.02), False)
  alpha = rims.astype(np.float32) * (1 / 255)
  over(picture, linear(face.glasses_rgb) * light, 0.9 * alpha)
