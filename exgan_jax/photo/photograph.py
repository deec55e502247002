"""A photo as stored in its file: pixels, color profile, metadata.

Bit depth, alpha channel and profile are kept as they are; `writer` writes them
back.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import pathlib
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image, ImageCms

from exgan_jax.errors import InputError
from exgan_jax.face_records import pictures
from exgan_jax.face_records.pictures import UnusablePictureError

# Of a picture that turns to be seen upright: first it is transposed, then
# mirrored along these axes. By the value of EXIF's orientation.
UPRIGHT: dict[int, tuple[bool, tuple[int, ...]]] = {
  1: (False, ()), 2: (False, (1,)), 3: (False, (0, 1)), 4: (False, (0,)),
  5: (True, ()), 6: (True, (1,)), 7: (True, (0, 1)), 8: (True, (0,)),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Photograph:
  """A photograph, upright.

  Attributes:
    pixels: uint8 or uint16 [h, w, c]: gray, gray and alpha, RGB, or RGB and
      alpha.
    orientation: EXIF's, of the pixels in the file, 1 to 8.
    format: of the file, in Pillow's names; '' of an array.
    data: the file; empty of an array.
    profile: ICC profile of its colors, or none.
    metadata: what else Pillow's writers take: `exif`, `xmp`, `dpi`.
    encoding: how the file was compressed, as Pillow's writers take it.
    extras: what else the file holds, such as a video or a depth map, in words.
  """

  pixels: Shaped[np.ndarray, 'h w c']
  orientation: int = 1
  format: str = ''
  data: bytes = b''
  profile: bytes | None = None
  metadata: dict[str, Any] = dataclasses.field(default_factory=dict)
  encoding: dict[str, Any] = dataclasses.field(default_factory=dict)
  extras: str = ''

  @property
  def size(self) -> tuple[int, int]:
    """Height and width in pixels."""
    return self.pixels.shape[:2]

  @property
  def has_alpha(self) -> bool:
    return self.pixels.shape[2] in (2, 4)

  @property
  def levels(self) -> int:
    """The largest value: 255 or 65535."""
    return np.iinfo(self.pixels.dtype).max

  @property
  def stored(self) -> Shaped[np.ndarray, 'h w c']:
    """The pixels as they lie in the file."""
    transposed, mirrored = UPRIGHT[self.orientation]
    pixels = np.flip(self.pixels, mirrored)
    return pixels.swapaxes(0, 1) if transposed else pixels

  def seen(self) -> UInt8[np.ndarray, 'h w 3']:
    """Returns 8-bit RGB in the photo's profile, transparency over white."""
    pixels = self.pixels
    if pixels.dtype == np.uint16:
      pixels = (pixels // 257).astype(np.uint8)
    if self.has_alpha:
      alpha = pixels[..., -1:].astype(np.uint16)
      pixels = (pixels[..., :-1] * alpha + 255 * (255 - alpha)) // 255
    if pixels.shape[2] == 1:
      pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels, np.uint8)

  def colors(self, rows: slice, columns: slice) -> Float[np.ndarray, 'h w 3']:
    """A part of the picture in [0, 1], in its own depth and profile."""
    part = self.pixels[rows, columns].astype(np.float32) / self.levels
    if self.has_alpha:
      alpha = part[..., -1:]
      part = part[..., :-1] * alpha + (1 - alpha)
    return np.ascontiguousarray(np.broadcast_to(part, (*part.shape[:2], 3)))

  def colors_of(
    self, colors: Float[np.ndarray, 'h w 3'], other: Photograph
  ) -> Float[np.ndarray, 'h w 3']:
    """Takes another photograph's colors in [0, 1] to this one's profile.

    Goes through 8 bits if the profiles differ.
    """
    if self.profile == other.profile:
      return colors
    rounded = np.round(255 * np.clip(colors, 0, 1)).astype(np.uint8)
    return self.from_srgb(other.to_srgb(rounded).astype(np.float32) / 255)

  def to_srgb(
    self, image: UInt8[np.ndarray, 'h w 3']
  ) -> UInt8[np.ndarray, 'h w 3']:
    """Takes a picture in the colors of this one's profile to sRGB."""
    return _converted(image, self._transforms and self._transforms[0])

  def from_srgb(
    self, image: Float[np.ndarray, 'h w 3']
  ) -> Float[np.ndarray, 'h w 3']:
    """Takes sRGB in [0, 1] to the colors of this one's profile."""
    if self._transforms is None:
      return image
    rounded = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return _converted(rounded, self._transforms[1]).astype(np.float32) / 255

  @functools.cached_property
  def _transforms(self) -> tuple[Any, Any] | None:
    """To sRGB and back, where the profile is of other colors."""
    if self.profile is None or self.pixels.shape[2] < 3:
      return None
    try:
      profile = ImageCms.ImageCmsProfile(io.BytesIO(self.profile))
      if 'sRGB' in ImageCms.getProfileDescription(profile):
        return None
      srgb = ImageCms.createProfile('sRGB')
      intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
      return (
        ImageCms.buildTransform(profile, srgb, 'RGB', 'RGB', intent),
        ImageCms.buildTransform(srgb, profile, 'RGB', 'RGB', intent),
      )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
      return None  # Viewers ignore a broken profile, too.

  def blended(
    self,
    top: int,
    left: int,
    colors: Float[np.ndarray, 'h w 3'],
    opacity: Float[np.ndarray, 'h w'],
  ) -> Photograph:
    """Returns the photo with part of it painted over.

    Args:
      top: first row of the part.
      left: its first column.
      colors: in [0, 1], in the colors of the profile.
      opacity: in [0, 1]; where it is 0 pixels stay as they are, bit for bit.
    """
    height, width = opacity.shape
    pixels = self.pixels.copy()
    part = pixels[top : top + height, left : left + width]
    count = part.shape[2] - self.has_alpha
    if count == 1:
      colors = cv2.cvtColor(colors.astype(np.float32), cv2.COLOR_RGB2GRAY)[
        ..., None
      ]
    below = part[..., :count].astype(np.float32)
    over = self.levels * np.clip(colors, 0, 1)
    mixed = below + opacity[..., None] * (over - below)
    part[..., :count] = np.where(
      opacity[..., None] > 0, np.round(mixed), below
    ).astype(pixels.dtype)
    return dataclasses.replace(self, pixels=pixels)


def from_array(pixels: np.ndarray) -> Photograph:
  """Takes an array for an sRGB photograph.

  Args:
    pixels: uint8 or uint16, [h, w] or [h, w, c] as in `Photograph`.

  Raises:
    InputError: another type or shape, or too small.
  """
  pixels = np.asarray(pixels)
  if pixels.ndim == 2:
    pixels = pixels[..., None]
  if pixels.dtype not in (np.uint8, np.uint16):
    raise InputError(f'a photograph of {pixels.dtype}, not uint8 or uint16')
  if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4:
    raise InputError(f'a photograph of shape {list(pixels.shape)}')
  try:
    pictures.check_size(pixels.shape[1], pixels.shape[0])
  except UnusablePictureError as error:
    raise InputError(f'photograph: {error}') from error
  return Photograph(pixels)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
  """Turns pixels, as they lie in a file, by EXIF's orientation."""
  transposed, mirrored = UPRIGHT[orientation]
  pixels = pixels.swapaxes(0, 1) if transposed else pixels
  return np.flip(pixels, mirrored)


def _converted(image: np.ndarray, transform: Any | None) -> np.ndarray:
  if transform is None:
    return image
  return np.array(ImageCms.applyTransform(Image.fromarray(image), transform))


def suffixes() -> dict[str, str]:
  """File suffixes that can be written, with their formats."""
  written = {*pictures.formats()} - {'BMP', 'GIF', 'PPM'}
  return {
    suffix: format_
    for suffix, format_ in pictures.KINDS.items()
    if format_ in written
  }


def format_of(path: str | os.PathLike) -> str:
  """The format that a file of this name has.

  Raises:
    InputError: none that can be written.
  """
  suffix = pathlib.Path(path).suffix.lower()
  known = suffixes()
  if suffix not in known:
    raise InputError(f'{path} should end in one of {" ".join(known)}')
  return known[suffix]
