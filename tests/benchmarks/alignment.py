"""Aligning against the authors' way to do it, and over processes.

    python tests/benchmarks/alignment.py [FOLDER]

FOLDER holds `celeb_id_raw/` and `celeb_params.json`; without it, pictures are
made up. The authors turn the whole photograph, cut the face out, and resize it;
here only what is cut out is turned. Both are timed in turn, picture by picture,
on one core, as the pictures are and four times as large.
"""

import functools
import pathlib
import statistics
import sys
import tempfile
import time

import cv2
import numpy as np

from exgan_jax.face_records import alignment, parallel, pictures
from exgan_jax.face_records.alignment import Face
from tfds_celeb_id import work
from tfds_celeb_id.celeb_id import entries, listing, sources

SIZE = 256
ROUNDS = 3
COUNT = 300


def main() -> None:
  """Prints what it measures."""
  cv2.setNumThreads(1)
  if len(sys.argv) > 1:
    source = sources.find(sys.argv[1])
    listed = listing.parse_raw(source.listing)[:COUNT]
    listed = [each for each in listed if isinstance(each, listing.Raw)]
    images = [
      pictures.read_picture(f'{source.pictures.path}/{each.filename}')
      for each in listed
    ]
    faces = [each.face for each in listed]
  else:
    images, faces = _made_up()
  for scale in (1, 4):
    large = [_enlarged(image, scale) for image in images]
    _compare(large, [_scaled(face, scale) for face in faces])
    _over_processes(large, [_scaled(face, scale) for face in faces])


def _compare(images, faces) -> None:
  theirs, ours, worst = [], [], 0
  for image, face in zip(images, faces, strict=True):
    times = {_whole: [], _crop: []}
    results = {}
    for _ in range(ROUNDS):
      for function, seconds in times.items():
        start = time.perf_counter()
        results[function] = function(image, face)
        seconds.append(time.perf_counter() - start)
    theirs.append(min(times[_whole]))
    ours.append(min(times[_crop]))
    difference = results[_whole].astype(int) - results[_crop]
    worst = max(worst, int(np.abs(difference).max()))
  ratio = statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
  print(
    f'{images[0].shape[1]} px, N = {len(images)}: whole photograph '
    f'{1e3 * statistics.median(theirs):.2f} ms, crop '
    f'{1e3 * statistics.median(ours):.2f} ms, ratio {ratio:.2f}; '
    f'results differ by at most {worst} of 255'
  )


def _whole(image, face):
  height, width = image.shape[:2]
  crop = alignment.crop_of(face, width, height)
  turned = cv2.warpAffine(
    image, crop.rotation, (width, height), flags=cv2.INTER_CUBIC
  )
  return cv2.resize(
    turned[crop.top : crop.bottom, crop.left : crop.right],
    (SIZE, SIZE),
    interpolation=cv2.INTER_CUBIC,
  )


def _crop(image, face):
  return alignment.align(image, face, SIZE, one_scale=True)[0]


def _over_processes(images, faces) -> None:
  """Reads, aligns and encodes files as the builder does."""
  with tempfile.TemporaryDirectory() as folder:
    items = []
    for i, (image, face) in enumerate(zip(images, faces, strict=True)):
      name = f'a-{i}.jpg'
      (pathlib.Path(folder) / name).write_bytes(pictures.encode_jpeg(image))
      items.append(listing.Raw('a', name, face))
    function = functools.partial(
      entries.make_entry, source=sources.Folder(folder), size=SIZE
    )
    first = None
    for workers in sorted({1, 2, parallel.cpu_count()}):
      # The processes have started when the first results are there.
      results = work.results(work.Work(function, items * 8), workers)
      for _ in range(50):
        next(results)
      start = time.perf_counter()
      rest = sum(1 for _ in results)
      rate = rest / (time.perf_counter() - start)
      first = first or rate
      print(
        f'  {workers} processes: {rate:.0f} pictures/s, {rate / first:.2f} '
        'times one'
      )


def _made_up() -> tuple[list[np.ndarray], list[Face]]:
  rng = np.random.default_rng(0)
  images, faces = [], []
  for _ in range(100):
    noise = rng.integers(0, 256, (250, 250, 3), np.uint8)
    images.append(cv2.GaussianBlur(noise, (0, 0), 2))
    eyes = ((105.0, 115.0), (145.0, 115.0))
    roll = float(rng.uniform(-15, 15))
    faces.append(Face(eyes, (125.0, 158.0), 125, 135, 140, 140, roll))
  return images, faces


def _enlarged(image: np.ndarray, scale: int) -> np.ndarray:
  return cv2.resize(
    image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC
  )


def _scaled(face: Face, scale: int) -> Face:
  def point(p):
    return None if p is None else (p[0] * scale, p[1] * scale)

  return Face(
    (point(face.eyes[0]), point(face.eyes[1])),
    point(face.mouth),
    *(scale * value for value in (face.x, face.y, face.width, face.height)),
    face.roll,
  )


if __name__ == '__main__':
  main()
