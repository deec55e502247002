"""Made-up files in the layout of the authors' repository."""

import json
import pathlib
import zlib

import numpy as np
import pytest
from PIL import Image


class AuthorsFiles:
  """A made-up folder in the layout of the authors' repository.

  Attributes:
    folder: where it is.
    parameters: what `celeb_params.json` says.
    aligned: what `data.json` says.
  """

  def __init__(self, folder: pathlib.Path):
    self.folder = folder
    self.parameters, self.aligned = {}, {}

  def photograph(self, name: str, width=200, height=160, **changes) -> None:
    """Adds a photo with a face 100 px wide whose eyes are level."""
    self._save('celeb_id_raw', name, width, height)
    entry = {
      'eye_left': {'x': width // 2 - 20, 'y': 70},
      'eye_right': {'x': width // 2 + 20, 'y': 70},
      'mouth_center': {'x': width // 2, 'y': 100},
      **{'face_x': 1, 'face_y': 1, 'face_w': 100, 'face_h': 100, 'roll': 0.0},
      **{'eyes_opened': 0.9, 'eyes_closed': 0.1},
      **changes,
    }
    self.parameters[name] = {k: v for k, v in entry.items() if v is not None}

  def picture(self, name: str, side=256, **changes) -> None:
    """Adds an aligned picture."""
    self._save('celeb_id_aligned', name, side, side)
    identity = name.rpartition('-')[0]
    self.aligned.setdefault(identity, []).append(
      {
        'filename': name,
        **{'eye_left': {'x': 97, 'y': 106}, 'box_left': {'w': 48, 'h': 61}},
        **{'eye_right': {'x': 160, 'y': 107}, 'box_right': {'w': 96, 'h': 50}},
        **{'opened': 0.9, 'closed': 0.1},
        **changes,
      }
    )

  def write(self) -> None:
    """Writes the listings that have entries."""
    if self.parameters:
      path = self.folder / 'celeb_params.json'
      path.write_text(json.dumps(self.parameters))
    if self.aligned:
      path = self.folder / 'celeb_id_aligned' / 'data.json'
      path.write_text(json.dumps(self.aligned))

  def _save(self, folder: str, name: str, width: int, height: int) -> None:
    # Smooth, so that JPEG leaves it nearly as it is, and another for each name.
    rows, columns = np.indices((height, width))
    phase = zlib.crc32(name.encode()) % 100
    waves = [np.sin((columns + phase) / 17), np.cos((rows - phase) / 13)]
    waves.append(np.sin((rows + columns + phase) / 29))
    pixels = np.stack([(120 + 100 * wave).astype(np.uint8) for wave in waves])
    (self.folder / folder).mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.moveaxis(pixels, 0, -1))
    image.save(self.folder / folder / name, 'JPEG', quality=95)


@pytest.fixture
def authors_files(tmp_path) -> AuthorsFiles:
  """An empty one, in a folder `celeb-id`."""
  return AuthorsFiles(tmp_path / 'celeb-id')
