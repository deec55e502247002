"""`exgan app`: opening eyes in a browser, for one person on one machine.

Pictures stay in a folder of this process alone, are removed after some minutes,
and all of it when the process ends.
"""

from __future__ import annotations

import logging
import os
import pathlib
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from exgan_jax import (
  drawn_example,
  faces,
  photograph,
  photograph_file,
  photograph_reader,
)
from exgan_jax.inpaint import Inpainter, Options, Result, check_painted
from tfds_celeb_id import InputError

logger = logging.getLogger(__name__)

TITLE = 'Open eyes'
MOST_REFERENCES = 20
# Of files of the user's, and how often their age is looked at, in seconds.
_KEPT_FOR, _LOOK_EVERY = 600, 60
# Pictures are shown with at most so many pixels a side.
_SHOWN = 1400
_CLOSED, _ALL = 'the one with closed eyes', 'all with closed eyes'
_ABOUT = """# Open eyes
Somebody blinked. Give that photograph and another one of the same person with
open eyes. Nothing leaves this computer."""
_SMALL_MODEL = """*This is the small model inside the package. It has learnt
from drawn faces alone: on photographs it lays the reference's eyes down in the
reference's light. Train one on photographs, and start
`exgan app --workdir RUN`.*"""
_DUTY = """Ask the person first. The result says in its metadata (IPTC digital
source type) that a trained model has painted in it; leave that in, and say so
where you show it."""


def serve(
  inpainter: Inpainter,
  host: str,
  port: int,
  max_megabytes: float = 50,
  is_pretrained: bool = False,
) -> None:
  """Serves the page until the process is told to end.

  Args:
    inpainter: that paints.
    host: address to serve; 127.0.0.1 is this machine alone.
    port: its port.
    max_megabytes: of an uploaded file.
    is_pretrained: whether to say that the model is the package's small one.

  Raises:
    InputError: Gradio is missing, or the address cannot be served.
  """
  if not max_megabytes > 0:
    raise InputError('--max-megabytes must be more than 0')
  _check_address(host, port)
  # The end of a process that is told to end is that of one that is left.
  signal.signal(signal.SIGTERM, lambda *_: _leave())
  with tempfile.TemporaryDirectory(prefix='exgan-app-') as folder:
    # Gradio asks for these as it is imported.
    os.environ['GRADIO_TEMP_DIR'] = folder
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    page = Page(inpainter, pathlib.Path(folder))
    page.warm_up()
    blocks = make_blocks(page, is_pretrained)
    blocks.launch(
      server_name=host, server_port=port, quiet=True, share=False,
      max_file_size=int(max_megabytes * 1e6), footer_links=[],
      ssr_mode=False, prevent_thread_lock=True, css=_CSS,
    )  # fmt: skip
    logger.info('http://%s:%d (ctrl-c ends it)', host, port)
    try:
      threading.Event().wait()
    except (KeyboardInterrupt, SystemExit):
      pass
    finally:
      blocks.close(verbose=False)


def _check_address(host: str, port: int) -> None:
  """Before anything is loaded: Gradio would tell it in many lines."""
  if not 0 < port < 2**16:
    raise InputError('--port must be in 1 to 65535')
  try:
    with socket.create_server((host, port)):
      pass
  except OSError as error:
    reason = error.strerror or error
    raise InputError(f'cannot serve {host}:{port}: {reason}') from error


def _leave() -> None:
  raise SystemExit(0)


_CSS = """
.gradio-container {max-width: 1100px !important; margin: auto}
footer {display: none !important}
"""


class Page:
  """What the page does; each method is one action of the user's.

  Args:
    inpainter: that paints; one photograph at a time.
    folder: for results.
  """

  def __init__(self, inpainter: Inpainter, folder: pathlib.Path):
    self._inpainter, self._folder = inpainter, folder
    self._lock = threading.Lock()

  def warm_up(self) -> None:
    """Paints the drawn example, so that nobody waits for the compiler."""
    self.paint(*self.example())

  def example(self) -> tuple[str, list[str]]:
    """Draws a photograph and its reference; returns their paths."""
    folder = tempfile.mkdtemp(dir=self._folder)
    photo, reference = drawn_example.draw(folder)
    return photo, [reference]

  def look(self, photo: str | None) -> tuple[UInt8[np.ndarray, 'h w 3'], int]:
    """The photograph with its faces numbered, and how many there are.

    Raises:
      InputError: it cannot be read.
    """
    picture = _read(photo)
    with self._lock:
      image = picture.seen()
      found = self._inpainter.find(image)
    shown = Image.fromarray(_shown(picture.to_srgb(image)))
    scale = shown.width / image.shape[1]
    draw = ImageDraw.Draw(shown)
    for number, face in enumerate(found, 1):
      half = 0.4 * face.width * scale
      x, y = face.x * scale, face.y * scale
      draw.ellipse((x - half, y - half, x + half, y + half), outline='white',
                   width=3)  # fmt: skip
      font = ImageFont.load_default(max(14, half / 4))
      text = f'{number}: {"open" if faces.is_open(face) else "closed"}'
      draw.text((x, y + half), text, 'white', font, anchor='md',
                stroke_width=2, stroke_fill='black')  # fmt: skip
    return np.asarray(shown), len(found)

  def paint(
    self,
    photo: str | None,
    references: list[str] | None,
    which: str = _CLOSED,
    force: bool = False,
    seamless: bool = False,
  ) -> tuple[np.ndarray, np.ndarray, str, str]:
    """Paints.

    Returns:
      Before and after, as they are shown; the file to download, the same bytes
      as `exgan inpaint` writes; and what was done.

    Raises:
      InputError: something cannot be read, or there is nothing to paint.
    """
    picture = _read(photo)
    if not references:
      raise InputError('a picture with open eyes is missing')
    if len(references) > MOST_REFERENCES:
      raise InputError(f'at most {MOST_REFERENCES} reference pictures')
    for path in references:
      _read(path)
    face = int(which.removeprefix('face ')) if which[-1:].isdigit() else None
    options = Options(face, which == _ALL, force, seamless)
    with self._lock:
      candidates = self._inpainter.candidates(references)
      result = self._inpainter.open_eyes(picture, candidates, options)
    check_painted(result)
    before, after = (
      _shown(p.to_srgb(p.seen())) for p in (picture, result.photograph)
    )
    return before, after, self._save(result, photo), _told(result)

  def _save(self, result: Result, photo: str) -> str:
    suffix = pathlib.Path(photo).suffix.lower()
    if suffix not in photograph.suffixes():
      suffix = '.png'
    folder = tempfile.mkdtemp(dir=self._folder)
    path = pathlib.Path(folder) / f'{pathlib.Path(photo).stem}-open{suffix}'
    photograph_file.save(result.photograph, path)
    return os.fspath(path)


def _read(path: str | None) -> photograph.Photograph:
  if not path:
    raise InputError('the photograph is missing')
  try:
    return photograph_reader.read(path)
  except InputError as error:
    # The user has not seen the folder that it is in.
    name = pathlib.Path(path).name
    raise InputError(str(error).replace(str(path), name)) from error


def _shown(image: np.ndarray) -> np.ndarray:
  scale = _SHOWN / max(image.shape)
  if scale >= 1:
    return image
  return cv2.resize(
    image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
  )


def _told(result: Result) -> str:
  lines = []
  for found in result.faces:
    line = f'- Face {found.number}: {found.done}'
    if found.choice is not None:
      name = pathlib.Path(found.choice.candidate.name).name
      line += f' after {name}'
    if found.closed_after is not None:
      line += f'; closed {found.face.closed:.2f} → {found.closed_after:.2f}'
    lines.append(line)
  return '\n'.join(lines)


def make_blocks(page: Page, is_pretrained: bool) -> Any:
  """The page itself, of Gradio's components.

  Raises:
    InputError: Gradio is not installed.
  """
  gr = _import_gradio()

  def checked(action: Callable) -> Callable:
    """Shows what is wrong with an input as one line on the page."""

    def act(*inputs):
      try:
        return action(*inputs)
      except InputError as error:
        raise gr.Error(str(error), duration=8, print_exception=False) from error

    return act

  def look(photo):
    if photo is None:
      return None, gr.update(choices=[_CLOSED, _ALL], value=_CLOSED)
    shown, count = page.look(photo)
    numbers = [f'face {number}' for number in range(1, count + 1)]
    return shown, gr.update(choices=[_CLOSED, _ALL, *numbers], value=_CLOSED)

  def paint(*inputs):
    before, after, path, told = page.paint(*inputs)
    return (before, after), gr.update(value=path, interactive=True), told

  with gr.Blocks(
    title=TITLE, analytics_enabled=False, delete_cache=(_LOOK_EVERY, _KEPT_FOR)
  ) as blocks:
    gr.Markdown(_ABOUT)
    if is_pretrained:
      gr.Markdown(_SMALL_MODEL)
    with gr.Row():
      with gr.Column():
        photo = gr.File(label='The photograph', elem_id='photo', height=120)
        seen = gr.Image(
          label='Its faces', interactive=False, elem_id='seen', buttons=[]
        )
      with gr.Column():
        references = gr.File(
          label='The same person with open eyes',
          file_count='multiple', elem_id='references', height=120,
        )  # fmt: skip
        which = gr.Dropdown([_CLOSED, _ALL], value=_CLOSED, label='Which face')
        force = gr.Checkbox(label='Paint eyes that look open, too')
        seamless = gr.Checkbox(label='Match the colours around them (Poisson)')
        press = gr.Button('Open the eyes', variant='primary', elem_id='press')
        example = gr.Button('Try it with drawn faces', elem_id='example')
    slider = gr.ImageSlider(
      label='Before and after', interactive=False, elem_id='result', buttons=[],
      max_height=700,
    )  # fmt: skip
    told = gr.Markdown(elem_id='told')
    download = gr.DownloadButton(
      'Download the photograph', interactive=False, elem_id='download'
    )
    gr.Markdown(_DUTY)
    photo.change(checked(look), photo, [seen, which])
    inputs = [photo, references, which, force, seamless]
    outputs = [slider, download, told]
    press.click(checked(paint), inputs, outputs)
    example.click(page.example, None, [photo, references]).then(
      checked(paint), inputs, outputs
    )
  return blocks


def _import_gradio() -> Any:
  try:
    import gradio
  except ImportError as error:
    raise InputError(
      f"the page needs Gradio: pip install 'exgan_jax[app]' ({error})"
    ) from error
  return gradio
