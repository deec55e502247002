"""A photograph as its file has it: pixels, colours, and what is told of it.

Nothing is converted that need not be: a photograph keeps its depth, alpha and
profile, and `photograph_file` writes all of it back.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import pathlib
import warnings
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import ExifTags, Image, ImageCms, JpegImagePlugin

from tfds_celeb_id import InputError, pictures
from tfds_celeb_id.pictures import UnusablePictureError

MAX_BYTES = 500_000_000
# What Pillow shows as other modes than those that a photograph is kept in.
_CONVERTED = {
  '1': 'L', 'P': 'RGB', 'PA': 'RGBA', 'RGBX': 'RGB', 'RGBa': 'RGBA',
  'La': 'LA', 'YCbCr': 'RGB',
}  # fmt: skip
_KEPT = ('L', 'LA', 'RGB', 'RGBA')
# Of a picture that turns to be seen upright: first it is transposed, then
# mirrored along these axes. By the value of EXIF's orientation.
_UPRIGHT: dict[int, tuple[bool, tuple[int, ...]]] = {
  1: (False, ()), 2: (False, (1,)), 3: (False, (0, 1)), 4: (False, (0,)),
  5: (True, ()), 6: (True, (1,)), 7: (True, (0, 1)), 8: (True, (0,)),
}  # fmt: skip
_NOTHING = (None, b'', '', (1, 1))
_EXIF = b'Exif\0\0'
# What TIFF files tell among the EXIF data: how their pixels lie in the file,
# and what has its own place elsewhere (XMP, ICC).
_LAYOUT = frozenset(
  (*range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 301, 317,
   *range(320, 348), *range(512, 533), 700, 34675)
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Photograph:
  """A photograph, upright.

  Attributes:
    pixels: uint8 or uint16 [h, w, c]: grey, grey and alpha, RGB, or RGB and
      alpha.
    orientation: EXIF's, of the pixels in the file, 1 to 8.
    format: of the file, in Pillow's names; '' of an array.
    data: the file; empty of an array.
    profile: ICC profile of its colours, or none.
    metadata: what else Pillow's writers take: `exif`, `xmp`, `dpi`.
    encoding: how the file was compressed, as Pillow's writers take it.
  """

  pixels: Shaped[np.ndarray, 'h w c']
  orientation: int = 1
  format: str = ''
  data: bytes = b''
  profile: bytes | None = None
  metadata: dict[str, Any] = dataclasses.field(default_factory=dict)
  encoding: dict[str, Any] = dataclasses.field(default_factory=dict)

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
    transposed, mirrored = _UPRIGHT[self.orientation]
    pixels = np.flip(self.pixels, mirrored)
    return pixels.swapaxes(0, 1) if transposed else pixels

  def seen(self) -> UInt8[np.ndarray, 'h w 3']:
    """The picture in 8 bits, in the colours of its profile, over white."""
    pixels = self.pixels
    if pixels.dtype == np.uint16:
      pixels = (pixels // 257).astype(np.uint8)
    if self.has_alpha:
      alpha = pixels[..., -1:].astype(np.uint16)
      pixels = (pixels[..., :-1] * alpha + 255 * (255 - alpha)) // 255
    if pixels.shape[2] == 1:
      pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels, np.uint8)

  def to_srgb(
    self, image: UInt8[np.ndarray, 'h w 3']
  ) -> UInt8[np.ndarray, 'h w 3']:
    """Takes a picture in the colours of this one's profile to sRGB."""
    return _converted(image, self._transforms and self._transforms[0])

  def from_srgb(
    self, image: Float[np.ndarray, 'h w 3']
  ) -> Float[np.ndarray, 'h w 3']:
    """Takes sRGB in [0, 1] to the colours of this one's profile."""
    if self._transforms is None:
      return image
    rounded = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return _converted(rounded, self._transforms[1]).astype(np.float32) / 255

  @functools.cached_property
  def _transforms(self) -> tuple[Any, Any] | None:
    """To sRGB and back, where the profile is of other colours."""
    if self.profile is None or self.pixels.shape[2] < 3:
      return None
    try:
      profile = ImageCms.ImageCmsProfile(io.BytesIO(self.profile))
      if 'sRGB' in ImageCms.getProfileDescription(profile):
        return None
      srgb = ImageCms.createProfile('sRGB')
      return tuple(
        ImageCms.buildTransform(
          *ends, 'RGB', 'RGB', ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
        for ends in ((profile, srgb), (srgb, profile))
      )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
      return None  # A broken profile: no viewer heeds it either.

  def blended(
    self,
    top: int,
    left: int,
    colours: Float[np.ndarray, 'h w 3'],
    opacity: Float[np.ndarray, 'h w'],
  ) -> Photograph:
    """Returns the photograph with something laid over a part of it.

    Args:
      top: first row of the part.
      left: its first column.
      colours: in [0, 1], in the colours of the profile.
      opacity: in [0, 1]; where it is 0 pixels stay as they are, bit for bit.
    """
    height, width = opacity.shape
    pixels = self.pixels.copy()
    part = pixels[top : top + height, left : left + width]
    count = part.shape[2] - self.has_alpha
    if count == 1:
      colours = cv2.cvtColor(
        colours.astype(np.float32), cv2.COLOR_RGB2GRAY
      )[..., None]
    below = part[..., :count].astype(np.float32)
    over = self.levels * np.clip(colours, 0, 1)
    mixed = below + opacity[..., None] * (over - below)
    part[..., :count] = np.where(
      opacity[..., None] > 0, np.round(mixed), below
    ).astype(pixels.dtype)
    return dataclasses.replace(self, pixels=pixels)


def read(path: str | os.PathLike) -> Photograph:
  """Reads a photograph.

  Raises:
    InputError: there is no such file, it is no picture, or one that could not
      be written again without a loss.
  """
  try:
    with open(path, 'rb') as file:
      data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
      raise UnusablePictureError('too large')
    return _decoded(data)
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror}') from error
  except UnusablePictureError as error:
    raise InputError(f'{path}: {error}') from error


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


def load(source: str | os.PathLike | np.ndarray | Photograph) -> Photograph:
  """Returns what a path, an array or a photograph stands for.

  Raises:
    InputError: as `read` and `from_array` do.
  """
  if isinstance(source, Photograph):
    return source
  if isinstance(source, str | os.PathLike):
    return read(source)
  return from_array(source)


def heif_is_there() -> bool:
  """Whether HEIC can be read: Pillow's plug-in for it is the extra `heic`."""
  try:
    import pillow_heif
  except ImportError:
    return False
  pillow_heif.register_heif_opener()
  return True


def _decoded(data: bytes) -> Photograph:
  formats = [*pictures.FORMATS, *(['HEIF'] if heif_is_there() else [])]
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Pillow warns of what is checked here.
      with Image.open(io.BytesIO(data), formats=formats) as image:
        pictures.check_size(image.width, image.height)
        return _of_image(image, data)
  except UnusablePictureError:
    raise
  except Image.UnidentifiedImageError as error:
    is_heif = data[4:8] == b'ftyp' and 'HEIF' not in formats
    raise UnusablePictureError(
      "HEIC needs pip install 'exgan_jax[heic]'" if is_heif
      else 'not a picture'
    ) from error  # fmt: skip
  except Image.DecompressionBombError as error:
    raise UnusablePictureError('too large') from error
  except Exception as error:  # Of broken files decoders raise nearly any.
    raise UnusablePictureError('broken') from error


def _of_image(image: Image.Image, data: bytes) -> Photograph:
  format_ = 'JPEG' if image.format == 'MPO' else image.format
  # The other pictures of a JPEG file are previews and depths of the first.
  if format_ not in ('JPEG', 'HEIF') and getattr(image, 'n_frames', 1) > 1:
    raise UnusablePictureError('holds several pictures')
  image.load()
  try:
    exif = image.getexif()
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    if format_ == 'TIFF':
      exif = without_layout(exif)
    exif = exif.tobytes() if len(exif) else None
  except Exception:  # Broken EXIF data do not spoil the picture itself.
    exif, orientation = None, 1
  if orientation not in _UPRIGHT or format_ == 'HEIF':
    orientation = 1  # Pillow's plug-in turns them itself.
  exif = image.info.get('exif') or exif
  metadata = {
    # WebP files have no such head, and JPEG files need one.
    'exif': exif and _EXIF + exif.removeprefix(_EXIF),
    'xmp': image.info.get('xmp'),
    'dpi': image.info.get('dpi'),
  }
  return Photograph(
    _upright(_pixels(image, data), orientation),
    orientation,
    format_,
    data,
    image.info.get('icc_profile'),
    # One dot per inch is Pillow's guess for a TIFF file that tells none.
    {name: value for name, value in metadata.items() if value not in _NOTHING},
    _encoding(image, format_, data),
  )


def without_layout(exif: Image.Exif) -> Image.Exif:
  """Takes out of EXIF data what holds only of the pixels of a TIFF file."""
  for tag, value in list(exif.items()):
    if tag in _LAYOUT:
      del exif[tag]
    elif isinstance(value, str):  # Of these Pillow would keep only ASCII.
      exif[tag] = value.encode('latin-1', 'replace')
  return exif


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
  transposed, mirrored = _UPRIGHT[orientation]
  pixels = pixels.swapaxes(0, 1) if transposed else pixels
  return np.flip(pixels, mirrored)


def _pixels(image: Image.Image, data: bytes) -> np.ndarray:
  # Pillow has no colour of 16 bits. A PNG file tells its depth in byte 24.
  if image.format == 'PNG' and data[24] == 16 and image.mode != 'I;16':
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
      raise UnusablePictureError('broken')
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}[pixels.shape[2]]
    return cv2.cvtColor(pixels, order)
  is_deep = image.format == 'TIFF' and max(image.tag_v2.get(258, [8])) > 8
  if is_deep and not image.mode.startswith('I;16'):
    raise UnusablePictureError('TIFF of more than 8 bits a colour: use PNG')
  if image.mode.startswith('I;16'):
    return np.array(image).astype(np.uint16)[..., None]
  if image.has_transparency_data and image.mode not in ('LA', 'RGBA'):
    image = image.convert('LA' if image.mode == 'L' else 'RGBA')
  image = image.convert(_CONVERTED.get(image.mode, image.mode))
  if image.mode not in _KEPT:
    raise UnusablePictureError(f'colours of kind {image.mode}: use RGB')
  pixels = np.array(image)
  return pixels[..., None] if pixels.ndim == 2 else pixels


def _encoding(image: Image.Image, format_: str, data: bytes) -> dict[str, Any]:
  """So that what is not touched loses next to nothing."""
  if format_ == 'JPEG':
    sampling = JpegImagePlugin.get_sampling(image)
    return {
      'qtables': image.quantization,
      'progressive': bool(image.info.get('progressive')),
      # Pillow cannot write the rare ones: then colours stay whole.
      'subsampling': max(sampling, 0),
    }
  if format_ == 'WEBP':
    # Anywhere, for a long profile comes first. Chance does no harm.
    return {'lossless': b'VP8L' in data}
  return {}


def _converted(image: np.ndarray, transform: Any | None) -> np.ndarray:
  if transform is None:
    return image
  return np.array(ImageCms.applyTransform(Image.fromarray(image), transform))


def suffixes() -> dict[str, str]:
  """Endings of the files that can be written, and their formats."""
  names = {
    '.jpg': 'JPEG', '.jpeg': 'JPEG', '.png': 'PNG', '.webp': 'WEBP',
    '.tif': 'TIFF', '.tiff': 'TIFF',
  }  # fmt: skip
  heif = dict.fromkeys(('.heic', '.heif'), 'HEIF') if heif_is_there() else {}
  return names | heif


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
