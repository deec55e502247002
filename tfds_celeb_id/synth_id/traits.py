"""Random traits of a person and of a scene.

Each group of traits has its own random stream, keyed by the seed, the person
and the name of the group. So a person does not depend on the number of people,
and the eyes are independent of the rest of the face.
"""

import dataclasses
import zlib

import numpy as np

Rgb = tuple[int, int, int]

# sRGB; colors between neighbors of a list are sampled as well.
IRISES = (
  ((52, 30, 20), (84, 50, 26), (112, 68, 32)),  # dark brown to brown
  ((122, 86, 40), (150, 98, 36), (178, 116, 44)),  # hazel to amber
  ((92, 108, 58), (86, 128, 84), (122, 146, 104)),  # green
  ((112, 122, 126), (136, 148, 152), (150, 160, 158)),  # gray
  ((62, 96, 148), (84, 132, 186), (128, 168, 206)),  # blue
)
SKINS = (
  (247, 218, 198),
  (238, 197, 170),
  (222, 174, 140),
  (197, 144, 106),
  (160, 108, 76),
  (118, 76, 54),
  (84, 54, 41),
)
HAIRS = (
  ((22, 18, 17), (44, 30, 24), (74, 48, 32)),  # black to brown
  ((22, 18, 17), (44, 30, 24), (74, 48, 32)),
  ((74, 48, 32), (108, 72, 44), (150, 110, 66)),  # brown
  ((150, 110, 66), (196, 160, 104)),  # blond
  ((112, 52, 30), (156, 80, 42)),  # red
  ((120, 117, 114), (206, 204, 200)),  # gray to white
)
HAIR_STYLES = ('bald', 'buzz', 'short', 'fringe', 'long', 'wavy', 'afro')


@dataclasses.dataclass(frozen=True)
class EyeTraits:
  """The eyes of a person; lengths are in units of the mean eye distance."""

  iris_rgb: Rgb
  pattern_seed: int  # the fibres of the iris
  collarette: float  # warmth of the ring around the pupil, 0..1
  limbal_ring: float  # darkness of the outer ring, 0..1
  iris_radius: float
  width: float  # of the opening
  openness: float  # height of the opening over its width
  tilt: float  # canthal tilt in radians, positive: outer corner higher
  peak: float  # where the upper lid is highest, -1 inner to 1 outer
  crease: float  # height of the lid crease above the lid; 0: none
  lashes: float  # 0..1


@dataclasses.dataclass(frozen=True)
class FaceTraits:
  """The face without the eyes; lengths as in `EyeTraits`."""

  skin_rgb: Rgb
  texture_seed: int
  freckles: float  # 0..1
  spacing: float  # eye distance over the mean eye distance
  width: float  # half width of the face
  length: float  # from the eyes to the chin
  jaw: float  # how much the face narrows downwards, 0..1
  cheeks: float  # height of the cheek bones, 0..1
  nose_width: float
  nose_length: float
  nose_height: float
  mouth_width: float
  lip_height: float
  lip_redness: float
  brow_height: float
  brow_arch: float
  brow_thickness: float
  brow_seed: int
  beard: float  # 0: none, 0.3: stubble, 1: full
  moustache: float
  glasses: bool
  glasses_rgb: Rgb


@dataclasses.dataclass(frozen=True)
class HairTraits:
  """Color and style of the hair; the brows have the same color."""

  rgb: Rgb
  style: str  # one of HAIR_STYLES
  hairline: float  # height of the hairline above the eyes
  volume: float
  parting: float  # slope of the hairline, -1..1
  seed: int


@dataclasses.dataclass(frozen=True)
class Person:
  """Lasting traits of a person."""

  eyes: EyeTraits
  face: FaceTraits
  hair: HairTraits

  @property
  def iris_rgb(self) -> Rgb:
    """Color of the iris, sRGB 0..255."""
    return self.eyes.iris_rgb


@dataclasses.dataclass(frozen=True)
class Scene:
  """Pose, light, expression, surroundings and camera of one picture."""

  yaw: float  # radians, positive: the nose moves right in the picture
  pitch: float  # radians, positive: the nose moves down
  roll: float  # radians
  scale: float
  offset: tuple[float, float]  # in units of the picture's width
  light: tuple[float, float, float]  # unit vector to the light; x right, y down
  light_rgb: tuple[float, float, float]  # linear gains of the key light
  ambient: float  # share of the light from everywhere, 0..1
  exposure: float
  smile: float  # -0.15..1
  mouth_open: float  # 0..1
  brow_raise: float
  gaze: tuple[float, float]  # of the iris, units of its radius; right, down
  blink: float  # 0: as open as the person's eyes are, 1: closed
  pupil: float  # radius over the iris's radius
  background: tuple[Rgb, Rgb]
  clothes_rgb: Rgb
  blur: float  # of the lens, pixels at 128
  noise: float  # of the sensor, in 0..1
  noise_seed: int


def stream(*key: int | str) -> np.random.Generator:
  """Returns the random stream of a key of numbers >= 0 and words."""
  words = [zlib.crc32(k.encode()) if isinstance(k, str) else k for k in key]
  if min(words) < 0:
    raise ValueError(f'seed, person and picture must be >= 0, got {key}')
  return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def _rgb(rng: np.random.Generator, anchors, spread: float) -> Rgb:
  """Samples a color along a list of anchors, with some deviation."""
  anchors = np.asarray(anchors, np.float64)
  place = rng.uniform(0, len(anchors) - 1)
  low = min(int(place), len(anchors) - 2)
  color = anchors[low] + (place - low) * (anchors[low + 1] - anchors[low])
  color = np.clip(color + rng.uniform(-spread, spread, 3), 8, 250)
  red, green, blue = np.rint(color)
  return int(red), int(green), int(blue)


def _seed(rng: np.random.Generator) -> int:
  return int(rng.integers(2**31))


def _sample_eyes(iris: np.random.Generator, shape: np.random.Generator):
  return EyeTraits(
    iris_rgb=_rgb(iris, IRISES[iris.integers(len(IRISES))], 7),
    pattern_seed=_seed(iris),
    collarette=iris.uniform(0, 1),
    limbal_ring=iris.uniform(0.3, 1),
    iris_radius=shape.uniform(0.118, 0.128),
    width=shape.uniform(0.44, 0.53),
    openness=shape.uniform(0.36, 0.5),
    tilt=shape.uniform(-0.09, 0.16),
    peak=shape.uniform(-0.35, 0.35),
    crease=shape.uniform(0.035, 0.085) * (shape.random() > 0.2),
    lashes=shape.uniform(0.1, 1),
  )


def _sample_face(rng: np.random.Generator, masculine: float) -> FaceTraits:
  bearded = rng.random() < 0.75 * masculine
  return FaceTraits(
    skin_rgb=_rgb(rng, SKINS, 5),
    texture_seed=_seed(rng),
    freckles=max(0.0, rng.uniform(-1.5, 1)),
    spacing=rng.uniform(0.95, 1.05),
    width=rng.uniform(1.02, 1.16),
    length=rng.uniform(1.68, 1.9) + 0.06 * masculine,
    jaw=rng.uniform(0.1, 0.8) * (1 - 0.4 * masculine),
    cheeks=rng.uniform(0, 1),
    nose_width=rng.uniform(0.8, 1.3) * (0.92 + 0.12 * masculine),
    nose_length=rng.uniform(0.6, 0.75),
    nose_height=rng.uniform(0.7, 1.2),
    mouth_width=rng.uniform(0.41, 0.53),
    lip_height=rng.uniform(0.9, 1.5) - 0.25 * masculine,
    lip_redness=rng.uniform(0.2, 1.0) * (1 - 0.55 * masculine),
    brow_height=rng.uniform(0.43, 0.5),
    brow_arch=rng.uniform(0.0, 0.09),
    brow_thickness=rng.uniform(0.032, 0.058) + 0.02 * masculine,
    brow_seed=_seed(rng),
    beard=float(rng.choice([0.25, 0.4, 1.0])) * bearded * rng.uniform(0.6, 1),
    moustache=float(bearded and rng.random() < 0.7) * rng.uniform(0.5, 1),
    glasses=bool(rng.random() < 0.08),
    glasses_rgb=_rgb(rng, ((20, 18, 18), (60, 40, 30), (120, 115, 110)), 6),
  )


def _sample_hair(rng: np.random.Generator, masculine: float) -> HairTraits:
  weights = np.array([0.6, 1, 3, 1, 0.15, 0.15, 0.6]) * masculine
  weights += np.array([0, 0.02, 0.3, 1.2, 2, 2, 0.6]) * (1 - masculine)
  return HairTraits(
    rgb=_rgb(rng, HAIRS[rng.integers(len(HAIRS))], 4),
    style=str(rng.choice(HAIR_STYLES, p=weights / weights.sum())),
    hairline=rng.uniform(0.92, 1.12),
    volume=rng.uniform(0, 1),
    parting=rng.uniform(-1, 1),
    seed=_seed(rng),
  )


def sample_person(seed: int, person: int) -> Person:
  """Samples a person; the same arguments give the same person.

  Args:
    seed: of the data set, >= 0.
    person: index of the person, >= 0.
  """
  # Beard, hair length and lips are correlated; the eyes are independent.
  masculine = float(stream(seed, person, 'bent').integers(2))
  return Person(
    eyes=_sample_eyes(
      stream(seed, person, 'iris'), stream(seed, person, 'eye shape')
    ),
    face=_sample_face(stream(seed, person, 'face'), masculine),
    hair=_sample_hair(stream(seed, person, 'hair'), masculine),
  )


def _light(rng: np.random.Generator) -> tuple[float, float, float]:
  azimuth, height = rng.uniform(-1.05, 1.05), rng.uniform(0.15, 0.95)
  x, y = np.sin(azimuth) * np.cos(height), -np.sin(height)
  return float(x), float(y), float(np.sqrt(1 - x * x - y * y))


def sample_scene(seed: int, person: int, picture: int) -> Scene:
  """Samples a scene; arguments as in `sample_person`."""
  rng = stream(seed, person, picture, 'scene')
  warmth = rng.uniform(-1, 1)
  vivid = rng.uniform(0.05, 0.55)
  hues = rng.integers(20, 235, (3, 3))
  hues = (hues * vivid + hues.mean(-1, keepdims=True) * (1 - vivid)).astype(int)
  ground, second, clothes = (
    (int(red), int(green), int(blue)) for red, green, blue in hues
  )
  return Scene(
    yaw=float(np.clip(rng.normal(0, 0.2), -0.4, 0.4)),
    pitch=float(np.clip(rng.normal(0, 0.1), -0.22, 0.22)),
    roll=float(np.clip(rng.normal(0, 0.02), -0.05, 0.05)),
    scale=rng.uniform(0.96, 1.04),
    offset=(rng.uniform(-0.015, 0.015), rng.uniform(-0.012, 0.012)),
    light=_light(rng),
    light_rgb=(1 + 0.07 * warmth, 1.0, 1 - 0.09 * warmth),
    ambient=rng.uniform(0.35, 0.65),
    exposure=rng.uniform(0.94, 1.16),
    smile=rng.uniform(-0.15, 1),
    mouth_open=max(0.0, rng.uniform(-1, 1)),
    brow_raise=rng.uniform(-0.015, 0.04),
    gaze=(rng.uniform(-0.35, 0.35), rng.uniform(-0.18, 0.18)),
    blink=rng.uniform(0, 0.22),
    pupil=rng.uniform(0.3, 0.46),
    background=(ground, second),
    clothes_rgb=clothes,
    blur=rng.uniform(0.3, 0.6),
    noise=rng.uniform(0.002, 0.012),
    noise_seed=_seed(rng),
  )
