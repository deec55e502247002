"""One record of a data set."""

import dataclasses

import numpy as np
from jaxtyping import Float32

# Eyes with a smaller `opened` count as closed.
OPEN_THRESHOLD = 0.60

UNKNOWN_CORNERS = np.full((4, 2), np.nan, np.float32)
UNKNOWN_CORNERS.flags.writeable = False

SPLITS = ('train', 'validation', 'test', 'closed')


@dataclasses.dataclass(frozen=True)
class Record:
  """An aligned picture; coordinates are in pixels of the stored picture.

  Attributes:
    image: an encoded picture, see `codec`.
    identity: the person.
    filename: its name.
    eyes: centers (x, y) of the left and the right eye.
    boxes: their sizes (w, h).
    opened: confidence that both eyes are open, NaN if unknown.
    index_in_identity: position among the records of the person.
    identity_size: number of those records.
    truth: the same scene with open eyes, encoded, or b'' if unknown.
    irises: centers (x, y) and radii of the left and the right iris, or None.
    corners: corners (x, y) of the eyes: outer and inner one of the left eye,
      inner and outer one of the right eye; all NaN if unknown.
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
    """Returns a copy without the bytes of the pictures."""
    return dataclasses.replace(self, image=b'', truth=b'')
