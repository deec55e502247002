"""The subcommands for photos: `inpaint`, `app` and `export`."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

from exgan_jax.errors import InputError

_WORKDIR = 'folder of a run or an exported model (default: the model inside the'
_WORKDIR += ' package)'


def add_commands(commands: argparse._SubParsersAction) -> None:
  """Adds the subcommands to the parser of `exgan`."""
  _add_inpaint(commands)
  _add_app(commands)
  export = commands.add_parser(
    'export', help='write a trained model as two small files'
  )
  export.set_defaults(run=_export)
  add = export.add_argument
  add('--workdir', required=True, help='folder of the run')
  add('--step', type=int, help='step of the checkpoint (default: the newest)')
  add('--output', required=True, help='folder to write')


def _add_inpaint(commands: argparse._SubParsersAction) -> None:
  inpaint = commands.add_parser(
    'inpaint', help='open the eyes in a photo or a folder of photos'
  )
  inpaint.set_defaults(run=_inpaint)
  add = inpaint.add_argument
  add('photo', metavar='PHOTO', help='the photo, or a folder of photos')
  add(
    '--reference', required=True, nargs='+', metavar='REF',
    help='photos of the same person, or folders; the best photo is used',
  )  # fmt: skip
  add(
    '--output', required=True,
    help='file to write (.jpg, .png, ...), or a folder if PHOTO is one',
  )  # fmt: skip
  add(
    '--compare', metavar='PATH',
    help='comparison PNG (reference, before, after), or a folder of them',
  )  # fmt: skip
  add(
    '--candidates', type=int, default=1, metavar='N',
    help='write results from the N best references, to choose from'
    ' (default: %(default)s)',
  )  # fmt: skip
  add('--faces', metavar='PATH', help='PNG of the photo, its faces numbered')
  which = inpaint.add_mutually_exclusive_group()
  which.add_argument(
    '--face', type=int, help='which face to paint; 1 is the leftmost'
  )
  which.add_argument(
    '--all-faces', action='store_true', help='paint every face with closed eyes'
  )
  add(
    '--force',
    action='store_true',
    help='also paint eyes that look open, or from a poor reference',
  )
  _add_model(inpaint)
  add(
    '--face-embedding', metavar='FILE',
    help="face recognition network (ONNX) for telling people apart (default:"
    " dlib's if exgan_jax[identity] is installed)",
  )  # fmt: skip
  add(
    '--same-person', type=float, default=argparse.SUPPRESS, metavar='COSINE',
    help='smallest similarity of two embeddings of one person'
    " (default: 0.92 for dlib's network, 0.36 for others)",
  )  # fmt: skip


def _add_model(parser: argparse.ArgumentParser) -> None:
  add = parser.add_argument
  add('--workdir', help=_WORKDIR)
  add('--step', type=int, help='step of the checkpoint (default: the newest)')
  add(
    '--face-landmarker', metavar='FILE',
    help="MediaPipe's face landmark model (default: downloaded once)",
  )  # fmt: skip


def _add_app(commands: argparse._SubParsersAction) -> None:
  app = commands.add_parser('app', help='open eyes in a browser')
  app.set_defaults(run=_app)
  add = app.add_argument
  add(
    '--host',
    default='127.0.0.1',
    help='address to serve on (default: %(default)s)',
  )
  add(
    '--port',
    type=int,
    default=7860,
    help='port to serve on (default: %(default)s)',
  )
  add(
    '--max-megabytes', type=float, default=50,
    help='largest upload (default: %(default)s)',
  )  # fmt: skip
  _add_model(app)


def _inpainter(
  workdir: str | None, step: int | None, face_landmarker: str | None, **more
) -> Any:
  from exgan_jax.photo.inpainter import Inpainter
  from exgan_jax.runtime import compilation

  compilation.enable_cache()
  return Inpainter.from_workdir(
    workdir, step=step, face_landmarker=face_landmarker, **more
  )


def _inpaint(
  photo: str, reference: list[str], output: str, compare: str | None,
  candidates: int, faces: str | None,
  workdir: str | None, step: int | None, face_landmarker: str | None,
  face_embedding: str | None, **fields,
) -> None:  # fmt: skip
  from exgan_jax.photo.files import LOG, inpaint_file, inpaint_folder, output_of
  from exgan_jax.photo.photograph import format_of
  from exgan_jax.photo.selection import Options
  from exgan_jax.photo.writer import extras_note

  options = Options(**fields)
  if not photo or not pathlib.Path(photo).exists():
    raise InputError(f'no photo at {photo!r}')
  with _inpainter(
    workdir, step, face_landmarker, face_embedding=face_embedding
  ) as inpainter:
    if pathlib.Path(photo).is_dir():
      if candidates > 1 or faces:
        raise InputError('--candidates and --faces are for one photo')
      tally = inpaint_folder(
        inpainter, photo, reference, output, options, compare
      )
      log = pathlib.Path(output) / LOG
      print(
        f'{tally.faces} face(s) painted in {tally.changed} of {tally.photos}'
        ' photos'
      )
      print(f'details: {log}')
      if tally.failed:
        raise InputError(
          f'{tally.failed} of {tally.photos} photos could not be read or'
          f' written; {log} says why'
        )
      return
    results = inpaint_file(
      inpainter, photo, reference, output, options, compare, candidates, faces
    )
  for number, result in enumerate(results):
    for found in result.faces:
      print(found.line(len(result.faces)))
    print(f'photo: {output_of(output, number)}')
  if note := extras_note(results[0].photograph, format_of(output)):
    print(f'note: {note}')
  for sheet in filter(None, (compare, faces)):
    print(f'picture: {sheet}')


def _app(
  host: str, port: int, max_megabytes: float,
  workdir: str | None, step: int | None, face_landmarker: str | None,
) -> None:  # fmt: skip
  from exgan_jax.photo.app import serve

  with _inpainter(workdir, step, face_landmarker) as inpainter:
    serve(inpainter, host, port, max_megabytes)


def _export(workdir: str, step: int | None, output: str) -> None:
  from exgan_jax.training.export import export

  export(workdir, output, step)
  print(f'model: {output}')
