"""The colour of irises, and how far two of them are apart to the eye.

For data that know where the irises are. The distance is CIEDE2000: Sharma, Wu
and Dalal, "The CIEDE2000 color-difference formula: implementation notes,
supplementary test data, and mathematical observations", 2005. A distance of
about 1 is just noticeable; brown and blue eyes are some 40 apart.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

# D65, as sRGB has it: X, Y, Z of white.
_WHITE = (0.95047, 1.0, 1.08883)
_TO_XYZ = (
  (0.4124564, 0.3575761, 0.1804375),
  (0.2126729, 0.7151522, 0.0721750),
  (0.0193339, 0.1191920, 0.9503041),
)


def iris_delta_e_per_eye(
  original: Float[Array, 'b h w 3'],
  result: Float[Array, 'b h w 3'],
  irises: Float[Array, 'b 2 3'],
) -> Float[Array, 'b 2']:
  """Returns the CIEDE2000 distance between the colours of two irises.

  Args:
    original: pictures in [0, 1] with the true irises, under the true light.
    result: the pictures to judge, in the same range.
    irises: x, y and radius in pixels of the left and the right iris.

  Returns:
    One distance an eye; NaN where the iris is not known.
  """
  colours = (iris_colour(image, irises) for image in (original, result))
  return ciede2000(*(srgb_to_lab(colour) for colour in colours))


def iris_colour(
  image: Float[Array, 'b h w 3'], irises: Float[Array, 'b 2 3']
) -> Float[Array, 'b 2 3']:
  """Returns the mean colour of what shows of each iris.

  That is left and right of the pupil: lids hide what is above and below it,
  and the rim is dark.

  Args:
    image: pictures of any range.
    irises: x, y and radius in pixels of the left and the right iris.
  """
  _, height, width, _ = image.shape
  x, y, radius = (irises[..., i, None, None] for i in range(3))
  across = (jnp.arange(width, dtype=x.dtype)[None, None, None, :] - x) / radius
  down = (jnp.arange(height, dtype=x.dtype)[None, None, :, None] - y) / radius
  ring = (jnp.sqrt(across**2 + down**2) - 0.66) / 0.2
  weight = jnp.exp(-(ring**2) - (down / 0.45) ** 4)
  total = jnp.einsum('behw,bhwc->bec', weight, image)
  return total / jnp.sum(weight, axis=(2, 3))[..., None]


def srgb_to_lab(colour: Float[Array, '*n 3']) -> Float[Array, '*n 3']:
  """Returns CIE L*a*b* (L* in [0, 100]) of sRGB in [0, 1], both under D65."""
  linear = jnp.where(
    colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4
  )
  to_xyz = jnp.asarray(_TO_XYZ, colour.dtype)
  white = jnp.asarray(_WHITE, colour.dtype)
  xyz = jnp.einsum('...c,xc->...x', linear, to_xyz / white[:, None])
  cut = 6 / 29
  root = jnp.where(xyz > cut**3, jnp.cbrt(xyz), xyz / (3 * cut**2) + 4 / 29)
  fx, fy, fz = root[..., 0], root[..., 1], root[..., 2]
  return jnp.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=-1)


def ciede2000(
  first: Float[Array, '*n 3'], second: Float[Array, '*n 3']
) -> Float[Array, '*n']:
  """Returns the CIEDE2000 distances of colours in L*a*b*.

  Sharma et al. 2005, equations 2 to 22, with parametric factors of 1.
  """
  l1, a1, b1 = (first[..., i] for i in range(3))
  l2, a2, b2 = (second[..., i] for i in range(3))
  mean_chroma = (jnp.hypot(a1, b1) + jnp.hypot(a2, b2)) / 2
  stretch = 1.5 - 0.5 * _saturation(mean_chroma)
  a1, a2 = stretch * a1, stretch * a2
  c1, c2 = jnp.hypot(a1, b1), jnp.hypot(a2, b2)
  h1, h2 = (_degrees(b, a) for a, b in ((a1, b1), (a2, b2)))

  grey = c1 * c2 == 0
  turn = h2 - h1
  turn = turn - 360.0 * jnp.round(turn / 360.0)
  turn = jnp.where(grey, 0.0, turn)
  # The mean hue lies on the shorter arc; of two opposite ones, by the paper,
  # the arithmetic mean.
  far = jnp.abs(h1 - h2) > 180.0
  around = jnp.where(h1 + h2 < 360.0, 180.0, -180.0)
  hue = (h1 + h2) / 2 + jnp.where(far, around, 0.0)
  hue = jnp.where(grey, h1 + h2, hue)

  lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
  t = (
    1
    - 0.17 * _cos(hue - 30)
    + 0.24 * _cos(2 * hue)
    + 0.32 * _cos(3 * hue + 6)
    - 0.20 * _cos(4 * hue - 63)
  )
  middle = (lightness - 50) ** 2
  scale_l = 1 + 0.015 * middle / jnp.sqrt(20 + middle)
  scale_c = 1 + 0.045 * chroma
  scale_h = 1 + 0.015 * chroma * t
  rotation = (
    -2
    * _saturation(chroma)
    * jnp.sin(jnp.radians(60 * jnp.exp(-(((hue - 275) / 25) ** 2))))
  )
  dl = (l2 - l1) / scale_l
  dc = (c2 - c1) / scale_c
  dh = 2 * jnp.sqrt(c1 * c2) * jnp.sin(jnp.radians(turn / 2)) / scale_h
  square = dl**2 + dc**2 + dh**2 + rotation * dc * dh
  return jnp.sqrt(jnp.maximum(square, 0.0))


def _saturation(chroma):
  # c^7 / (c^7 + 25^7), without numbers that float32 cannot hold.
  ratio = (chroma / 25) ** 7
  return jnp.sqrt(ratio / (ratio + 1))


def _degrees(y, x):
  """The angle in [0, 360), 0 for the origin."""
  return jnp.degrees(jnp.arctan2(y, x)) % 360.0


def _cos(degrees):
  return jnp.cos(jnp.radians(degrees))
