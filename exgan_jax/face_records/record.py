"""One aligned picture as it is read back from a data set."""

import dataclasses

import numpy as np
from jaxtyping import Float32

# Below this the eyes count as closed.
OPEN_THRESHOLD = 0.60

# Corners of the eyes, as (x, y), where they are not known.
UNKNOWN_CORNERS = np.full((4, 2), np.nan, np.float32)

UNKNOWN_CORNERS.flags.writeable = False

SPLITS = ('train', 'validation', 'test', 'closed')


@dataclasses.dataclass(frozen=True)
class Record:
  """One aligned picture as `parse` reads it back.

  Attributes:
    image: bytes of a JPEG, or plain pixels as `codec` has them.
    identity: whose picture it is.
    filename: its name.
    eyes: float32 [2, 2], centres (left, right) as (x, y) in stored pixels.
    boxes: float32 [2, 2], sizes (left, right) as (w, h) in stored pixels.
    opened: how sure it is that both eyes are open, NaN if unknown.
    index_in_identity: place among the records of the person.
    identity_size: how many they are.
    truth: the same scene with open eyes, stored as `image` is, or nothing.
    irises: float32 [2, 3], centres (x, y) and radii (left, right) in stored
      pixels; None where they are not known.
    corners: float32 [4, 2], corners of the eyes (x, y) in stored pixels, in
      the order of `Entry.corners`; all NaN where they are not known.
  """

  image: bytes
  identity: str
  filename: str
  eyes: Float32[np.ndarray, '2 2']
  boxes: Float32[np.ndarray, '2 2']
  opened: float
  index_in_identity: int
  identity_size: int
  truth: bytes
  irises: Float32[np.ndarray, '2 3'] | None
  corners: Float32[np.ndarray, '4 2']

  def without_pictures(self) -> 'Record':
    """Returns what is left without the pictures' bytes."""
    return dataclasses.replace(self, image=b'', truth=b'')
