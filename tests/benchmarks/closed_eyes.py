"""Opens the eyes in photographs of many people, and says how well it went.

python tests/benchmarks/closed_eyes.py FOLDER --workdir W --output DIR

FOLDER has a folder for each person, with photographs `closed_*` and
`open_*`; for a person without an open one, those of the folder of the same name
in --more are taken. DIR gets the photographs and sheets of before, after and
reference.
"""

import argparse
import collections
import pathlib
import statistics

from exgan_jax import contact_sheet as sheet_lib
from exgan_jax.photo import drawings, reader, writer
from exgan_jax.photo.inpainter import Inpainter
from exgan_jax.runtime import compilation

ROWS = 8


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('--workdir')
  parser.add_argument('--more', type=pathlib.Path)
  parser.add_argument('--output', type=pathlib.Path, required=True)
  arguments = parser.parse_args()
  compilation.enable_cache()
  painted, reasons, count = [], collections.Counter(), 0
  with Inpainter.from_workdir(arguments.workdir) as inpainter:
    for path in sorted(arguments.folder.glob('*/closed_*')):
      count += 1
      found, reason = _open(inpainter, path, arguments)
      painted += found
      reasons[reason] += 1
  for number in range(0, len(painted), ROWS):
    drawn = drawings.comparison(painted[number : number + ROWS])
    path = arguments.output / f'sheet-{number // ROWS}.png'
    sheet_lib.save(drawn, path)
  before = [found.face.closed for found in painted]
  after = [found.closed_after or 1.0 for found in painted]
  less = sum(a < b for a, b in zip(after, before, strict=True))
  print(f'{count} photographs, {len(painted)} faces painted; {dict(reasons)}')
  print(f'blink score below the one before: {less} of {len(painted)}')
  print(
    f'median before {statistics.median(before):.3f},'
    f' after {statistics.median(after):.3f}'
  )


def _open(inpainter, path, arguments):
  references = sorted(path.parent.glob('open_*'))
  if not references and arguments.more:
    references = sorted((arguments.more / path.parent.name).glob('*'))
  candidates = [
    candidate
    for reference in references
    for candidate in inpainter.candidates_or_none(reference)
  ]
  result = inpainter.open_eyes(reader.read(path), candidates)
  if not result.painted:
    return [], '; '.join(sorted({face.done for face in result.faces}))
  target = arguments.output / path.parent.name / path.name
  target.parent.mkdir(parents=True, exist_ok=True)
  writer.save(result.photograph, target)
  return result.painted, 'painted'


if __name__ == '__main__':
  main()
