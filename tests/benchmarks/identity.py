"""Whose eyes a photo gets: the right person's, or a refusal.

python tests/benchmarks/identity.py folder|groups|portrait|winks|blinks DATA

DATA is the folder of photographs that EXGAN_TEST_DATA names: `lfw`,
`closed_eyes`, `blink_pairs` and `group_photo`. Each prints one JSON object.

  folder    Everybody's open pictures in one folder as the reference.
  groups    Twelve people side by side, three of them blinking; the reference
            shows them on other seats.
  portrait  Three people blink; the reference is a portrait of one of them.
  winks     One eye of a blink beside the other one of an open frame.
  blinks    LPIPS of the eye strip, after one reference, and after the best of
            all open frames of other moments (--lpips).
"""

import argparse
import collections
import csv
import dataclasses
import json
import os
import pathlib
import random

import cv2
import numpy as np
from PIL import Image

from exgan_jax.face_records.landmarks import FaceLandmarker
from exgan_jax.models import lpips as lpips_lib
from exgan_jax.photo import embedding, photograph, reader, transplant
from exgan_jax.photo.face_search import FaceFinder
from exgan_jax.photo.inpainter import Inpainter
from exgan_jax.photo.result import PAINTED
from exgan_jax.photo.selection import Options

PEOPLE, PICTURES = 200, 4  # Of Labeled Faces in the Wild.
GROUPS, SEATS, BLINKING = 20, 12, 3
SIDE, ROW = 300, 6  # Of a seat in pixels, and seats in a row.
WINKS = 30


class Blinking:
  """A finder that sees the largest faces of some pictures closed."""

  def __init__(self, finder):
    self._finder, self.closed = finder, False

  def __call__(self, image):
    found = self._finder(image)
    if self.closed and found:
      largest = max(found, key=lambda face: face.width)
      found[found.index(largest)] = dataclasses.replace(
        largest, opened=0.0, closed=1.0, blinks=(1.0, 1.0)
      )
    return found

  def again(self, image, face):
    return face

  def close(self):
    self._finder.close()


def choosing(finder):
  """An inpainter that chooses references and paints nothing."""
  return Inpainter(lambda photo, *_: photo, finder, embedding.load())


def folder(data):
  """Counts whose eyes are chosen from a folder of everybody's pictures."""
  people = sorted((data / 'lfw').iterdir())
  random.Random(0).shuffle(people)
  pictures, targets = [], []
  known = {path.name for path in (data / 'closed_eyes').iterdir()}
  people = [person for person in people if person.name not in known]
  for person in people[:PEOPLE]:
    ours = sorted(person.glob('*.jpg'))[:PICTURES]
    targets.append((ours[0], True))
    pictures += ours[1:]
  closed = [
    *sorted((data / 'closed_eyes').glob('*/closed_*')),
    *sorted((data / 'blink_pairs').glob('*/closed_*')),
  ]
  targets += [(path, False) for path in closed]
  for path in sorted({path.parent for path in closed}):
    pictures += sorted(path.glob('open_*'))
  counts = collections.defaultdict(collections.Counter)
  wrong = []
  finder = Blinking(FaceFinder())
  with choosing(finder) as inpainter:
    candidates = [c for path in pictures for c in _candidates(inpainter, path)]
    for path, is_acted in targets:
      finder.closed = is_acted
      kind = path.parent.parent.name
      result = inpainter.open_eyes(
        reader.read(path),
        candidates,
        Options(all_faces=True),
      )
      largest = max(result.faces, key=lambda f: f.face.width, default=None)
      if largest is None or largest.done == 'the eyes look open':
        counts[kind]['not looked at'] += 1
      elif largest.done != PAINTED:
        counts[kind]['refused'] += 1
        wrong.append([path.name, largest.done])
      else:
        name = pathlib.Path(largest.choice.candidate.name)
        is_right = name.parent.name == path.parent.name
        counts[kind]['right' if is_right else 'wrong'] += 1
        if not is_right:
          person = round(largest.choice.person, 4)
          wrong.append([path.name, f'{name.parent.name}/{name.name}', person])
  return {'candidates': len(candidates), 'counts': counts, 'not right': wrong}


def _candidates(inpainter, path):
  found = inpainter.candidates_or_none(path)
  largest = max(found, key=lambda c: c.aligned.face.width, default=None)
  # Who else is on a picture, and whether they are on others, nobody knows.
  return [] if largest is None else [largest]


def groups(data):
  """Counts whose eyes blinking people of composed group photos get."""
  closed = _blinks(data)
  people = [
    pictures
    for person in sorted((data / 'lfw').iterdir())
    if person.name not in closed
    and len(pictures := sorted(person.glob('*.jpg'))) > 1
  ]
  counts, reasons = collections.Counter(), []
  with FaceFinder() as finder, choosing(finder) as inpainter:
    for number in range(GROUPS):
      chance = random.Random(number)
      seats = [
        (blinks[0], opens[0])
        for _, blinks, opens in chance.sample(list(closed.values()), BLINKING)
      ]
      seats += [tuple(p[:2]) for p in chance.sample(people, SEATS - BLINKING)]
      photo = _side_by_side([before for before, _ in seats])
      order = chance.sample(range(SEATS), SEATS)
      shown = _side_by_side([seats[seat][1] for seat in order])
      result = inpainter.open_eyes(
        photograph.from_array(photo),
        inpainter.candidates([shown]),
        Options(all_faces=True),
      )
      for found in result.faces:
        seat = _seat(found.face)
        if found.done == PAINTED:
          theirs = order[_seat(found.choice.candidate.aligned.face)]
          counts['right' if theirs == seat else 'wrong'] += 1
        elif seat < BLINKING and found.done != 'the eyes look open':
          counts['refused'] += 1
          reasons.append(found.done)
  return {'groups': GROUPS, 'counts': counts, 'refused': reasons}


def portrait(data):
  """Counts who of three people who blink is painted after one portrait."""
  closed = list(_blinks(data, ('blink_pairs',)).values())
  counts, reasons = collections.Counter(), collections.Counter()
  with FaceFinder() as finder, choosing(finder) as inpainter:
    for number in range(GROUPS):
      people = random.Random(number).sample(closed, 3)
      photo = _side_by_side([blinks[0] for _, blinks, _ in people])
      result = inpainter.open_eyes(
        photograph.from_array(photo),
        inpainter.candidates([people[0][2][0]]),
        Options(all_faces=True),
      )
      for found in result.faces:
        is_painted = found.done == PAINTED
        who = 'the one' if _seat(found.face) == 0 else 'another one'
        counts[who, 'painted' if is_painted else 'not painted'] += 1
        if not is_painted:
          reasons[who, found.done.split(': ')[-1]] += 1
  return {
    'photos': GROUPS,
    'counts': {' '.join(key): value for key, value in counts.items()},
    'reasons': {': '.join(key): value for key, value in reasons.items()},
  }


def _blinks(data, kinds=('closed_eyes', 'blink_pairs')):
  """People by name: name, pictures with closed eyes, and with open ones."""
  found = {}
  for person in [p for kind in kinds for p in sorted((data / kind).iterdir())]:
    if person.is_dir():
      closed, opens = (
        sorted(person.glob(f'{name}_*.jpg')) for name in ('closed', 'open')
      )
      if closed and opens:
        found[person.name] = person.name, closed, opens
  return found


def _side_by_side(pictures):
  """Squares of pictures in rows."""
  squares = []
  for path in pictures:
    image = np.asarray(Image.open(path).convert('RGB'))
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    square = image[top : top + side, left : left + side]
    squares.append(
      cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    )
  rows = [squares[i : i + ROW] for i in range(0, len(squares), ROW)]
  return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def _seat(face):
  return int(face.y // SIDE) * ROW + int(face.x // SIDE)


def winks(data):
  """Counts winks that are seen, and of which the open eye stays as it is."""
  counts = collections.Counter()
  with Inpainter.from_workdir() as inpainter:
    for number, (closed, opened, other, _) in enumerate(_pairs(data)):
      if counts['winks'] == WINKS:
        break
      photo, shown = map(reader.read, (closed, opened))
      ours, theirs = (
        max(inpainter.find(p.seen()), key=lambda f: f.width, default=None)
        for p in (photo, shown)
      )
      if ours is None or theirs is None:
        continue
      counts['winks'] += 1
      is_open = (number % 2 == 0, number % 2 == 1)
      corners = [np.array(face.corners) for face in (ours, theirs)]
      wink = transplant.transplant(photo, shown, *corners, is_open)
      result = inpainter.open_eyes(wink, inpainter.candidates([other]))
      painted = result.painted
      if not painted or painted[0].eyes != (not is_open[0], not is_open[1]):
        counts[f'not seen: {[f.done for f in result.faces]}'] += 1
        continue
      counts['seen'] += 1
      changed = (wink.pixels != result.photograph.pixels).any(axis=-1)
      y, x = np.nonzero(changed)
      places = np.stack([x, y], axis=-1)
      # The side of the bridge of the nose where the open eye is.
      middle, axis = corners[0][1:3].mean(axis=0), corners[0][3] - corners[0][0]
      side = (places - middle) @ axis
      is_beyond = (side < 0) if is_open[0] else (side > 0)
      counts['the other eye bit for bit'] += bool(
        len(x) and not is_beyond.any()
      )
  return counts


def _pairs(data):
  """Of each strict blink: itself, the nearest open frame, others, person."""
  folder = data / 'blink_pairs'
  best, opens = {}, collections.defaultdict(set)
  with open(folder / 'pairs.csv', encoding='utf-8') as file:
    for row in csv.DictReader(file):
      opens[row['person']].add(row['open'])
      key = row['person'], row['closed']
      moved = float(row['eyes_moved'])
      if row['strict'] == '1' and (key not in best or moved < best[key][0]):
        best[key] = moved, row['open']
  for (person, closed), (_, opened) in sorted(best.items()):
    moment = opened.split('_')[1]
    others = sorted(o for o in opens[person] if o.split('_')[1] != moment)
    if others:
      at = folder / person
      yield at / closed, at / opened, at / others[0], [at / o for o in others]


def blinks(data, lpips):
  """LPIPS of the eye strip, from one reference and from the best of many."""
  weights = lpips_lib.load(lpips)
  rows = []
  with Inpainter.from_workdir() as inpainter, FaceLandmarker() as landmarker:

    def corners_of(image):
      faces = landmarker.detect(image)
      return np.array(
        max(
          (face.corners for face in faces),
          key=lambda corners: abs(corners[3][0] - corners[0][0]),
        )
      )

    def strip(image, corners):
      strip = cv2.warpAffine(
        image, transplant.similarity(corners, STRIP), (400, 160),
        flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE,
      )  # fmt: skip
      return strip[None] / np.float32(127.5) - 1

    for closed, opened, other, others in _pairs(data):
      photo = reader.read(closed)
      corners = corners_of(photo.seen())
      image = reader.read(opened).seen()
      truth = strip(image, corners_of(image))
      row = {'photo': f'{closed.parent.name}/{closed.name}'}
      for name, references in (('one', [other]), ('folder', others)):
        result = inpainter.open_eyes(
          photo, inpainter.candidates(references), Options(force=True)
        )
        painted = strip(result.photograph.seen(), corners)
        row[name] = float(lpips_lib.distance(weights, painted, truth)[0])
        row[f'{name} chosen'] = os.path.basename(
          result.painted[0].choice.candidate.name
        )
      rows.append(row)
  means = {k: float(np.mean([r[k] for r in rows])) for k in ('one', 'folder')}
  return {'photos': len(rows), 'lpips': means, 'rows': rows}


# Where realism benchmarks have the corners of the eyes, in 400 x 160 px.
STRIP = np.array([[95, 80], [165, 80], [235, 80], [305, 80]], np.float64)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  kinds = {f.__name__: f for f in (folder, groups, portrait, winks, blinks)}
  parser.add_argument('kind', choices=kinds)
  parser.add_argument('data', type=pathlib.Path)
  parser.add_argument('--lpips', type=pathlib.Path)
  arguments = parser.parse_args()
  more = [arguments.lpips] if arguments.kind == 'blinks' else []
  print(json.dumps(kinds[arguments.kind](arguments.data, *more), indent=1))


if __name__ == '__main__':
  main()
