"""Paints hair behind and in front of the face."""

import math

import cv2
import numpy as np

from tfds_celeb_id.synth_id.head import (
  Head,
  gauss,
  linear,
  noise,
  over,
  smoothstep,
)
from tfds_celeb_id.synth_id.traits import stream

_LONG = ('long', 'wavy')
_CROPPED = ('afro', 'buzz')
# How far the silhouette lies outside of the skull, and how low the hair reaches
# behind and in front of the ears.
_LIFT = {'bald': -0.06, 'buzz': 0.0, 'afro': 0.28}
_BACK_END = {'afro': 0.6, 'fringe': 1.0, 'long': 3.0, 'wavy': 3.0}
_FRONT_END = {'buzz': 0.0, 'short': 0.15, 'afro': 0.2, 'fringe': 0.9}


class Hair:
  """Hair of a head: paint its back, then the face, then its front."""

  def __init__(self, head: Head):
    self.head, self.traits = head, head.person.hair
    self.x, self.y = head.skull_x, head.skull_y
    if self.traits.style == 'bald':
      return
    self.strands = self._strands()
    self.outside = self._outside()
    self.color = self._color()

  def _strands(self) -> np.ndarray:
    """Returns streaks from the crown outwards, about -1..1."""
    hair, x, y = self.traits, self.x, self.y
    rng = stream(hair.seed, 'strands')
    if hair.style in _CROPPED:
      fine = noise(rng, x.shape, (110, 110))
      return 0.7 * fine + 0.5 * noise(rng, x.shape, (28, 28))
    table = rng.standard_normal((8, 260), np.float32)
    table += np.repeat(rng.standard_normal((8, 52), np.float32), 5, axis=1)
    dx, dy = x - 0.45 * hair.parting, y + 1.5
    fan = np.arctan2(dx, np.maximum(dy, -0.4) + 0.7)
    if hair.style == 'wavy':
      fan += 0.035 * np.sin(6 * y + 5 * x)
    column = fan * (130 / math.pi) + 130
    row = np.hypot(dx, dy) * 1.6
    streaks = cv2.remap(
      table, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return 0.6 * streaks

  def _outside(self) -> np.ndarray:
    """Returns the distance from the silhouette, negative inside."""
    hair, face, y = self.traits, self.head.person.face, self.y
    lift = _LIFT.get(hair.style, 0.05 + 0.12 * hair.volume)
    wide, high = face.width + 0.03 + lift, 1.46 + lift
    aside, above = self.x * (1 / wide), np.minimum(y + 0.05, 0) * (1 / high)
    aside, above = aside * aside, above * above
    # Skulls are between an ellipse and a box.
    distance = 0.4 * np.sqrt(aside + above)
    distance += 0.6 * np.sqrt(np.sqrt(aside * aside + above * above))
    if hair.style in _LONG:
      distance -= 0.14 * smoothstep(0, 1.2, y)
      if hair.style == 'wavy':
        distance += 0.03 * np.sin(6 * y + 4 * hair.parting)
    ragged = 0.05 if hair.style == 'afro' else 0.02
    return distance - 1 + ragged * self.strands

  def _color(self) -> np.ndarray:
    """Returns the lit hair: streaks and a soft band of gloss."""
    lx, ly, _ = self.head.scene.light
    base = linear(self.traits.rgb)
    toward = 0.5 * (self.x * lx + (self.y + 0.4) * ly)
    lit = 0.6 + 0.5 * np.clip(toward + 0.3, -0.3, 1)
    lit *= self.head.scene.exposure
    color = base * (lit * np.maximum(1 + 0.45 * self.strands, 0.15))
    if self.traits.style not in _CROPPED:
      band = self.y + 1.2 + 0.25 * self.x * self.x
      gloss = gauss(band * (1 / 0.18)) * np.maximum(0.5 + 0.6 * self.strands, 0)
      color += gloss * (0.03 + 0.25 * base)
    return color

  def paint_back(self, picture) -> None:
    """Paints the hair behind the face and neck."""
    if self.traits.style == 'bald':
      return
    end = _BACK_END.get(self.traits.style, 0.3)
    cover = smoothstep(0.02, -0.02, self.outside)
    cover *= smoothstep(end + 0.15, end - 0.15, self.y + 0.1 * self.strands)
    over(picture, 0.55 * self.color, cover)

  def paint_front(self, picture) -> None:
    """Paints the hair over forehead, temples and cheeks, and its shadow."""
    hair, face, head = self.traits, self.head.person.face, self.head
    if hair.style == 'bald':
      return
    x, y = self.x, self.y
    top = hair.hairline + 0.16 * hair.parting * x
    wide = 0.97 * face.width
    if hair.style == 'fringe':
      top = 0.68 + 0.08 * hair.parting * x
    if hair.style in (*_LONG, 'fringe'):
      wide = (0.9 + 0.06 * np.cos(2 * y)) * face.width
    # Bare skin is a rounded arch; the hair is outside of it.
    aside, above = np.abs(x / wide), np.maximum(0.3 - y, 0) / (top + 0.3)
    arch = aside * aside * aside + above * above * above
    soft = 0.18 if hair.style in (*_CROPPED, 'short') else 0.1
    cover = smoothstep(1 - soft, 1 + soft, arch + 0.12 * self.strands)
    cover *= smoothstep(0.02, -0.02, self.outside)
    end = _FRONT_END.get(hair.style, 3.0)
    cover *= smoothstep(end + 0.15, end - 0.15, y + 0.1 * self.strands)
    if hair.style == 'buzz':
      cover *= 0.8
    lx = head.scene.light[0]
    fall = np.array(
      [[1, 0, -0.05 * head.unit * lx], [0, 1, 0.06 * head.unit]], np.float32
    )
    shadow = cv2.GaussianBlur(cover, (0, 0), 0.05 * head.unit)
    shadow = cv2.warpAffine(shadow, fall, shadow.shape)
    picture *= 1 - 0.4 * shadow * (1 - cover)
    over(picture, self.color, cover)
