"""`exgan app`: opening eyes in a browser, for one person on one machine.

Pictures stay in a folder of this process alone, are removed after some minutes,
and all of it when the process ends.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import pathlib
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from typing import Any

from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.face_records import pictures
from exgan_jax.photo.guard import Guard
from exgan_jax.photo.inpainter import Inpainter
from exgan_jax.photo.page import ALL, CANDIDATES, CLOSED, Page

logger = logging.getLogger(__name__)

TITLE = 'Open eyes'
# Of files of the user's, and how often their age is looked at, in seconds.
_KEPT_FOR, _LOOK_EVERY = 600, 60
_ABOUT = """# Open eyes
Choose the photo in which someone blinked, and another photo of the same person
with open eyes. Your photos do not leave this computer."""
_DUTY = """Ask the person first. The result says in its metadata (IPTC digital
source type) that a trained model has painted in it; leave that in, and say so
where you show it."""


def serve(
  inpainter: Inpainter,
  host: str,
  port: int,
  max_megabytes: float = 50,
) -> None:
  """Serves the page until the process is terminated.

  Args:
    inpainter: that paints.
    host: address to serve; 127.0.0.1 is this machine alone.
    port: its port.
    max_megabytes: of an uploaded file.

  Raises:
    InputError: Gradio is missing, or the address cannot be served.
  """
  most = pictures.MAX_BYTES // 10**6
  if not 0 < max_megabytes <= most:
    raise InputError(f'--max-megabytes must be more than 0, at most {most}')
  _check_address(host, port)
  if importlib.util.find_spec('gradio') is None:
    raise InputError("the page needs Gradio: pip install 'exgan_jax[app]'")
  # SIGTERM must delete the uploads, as leaving normally does.
  signal.signal(signal.SIGTERM, lambda *_: _leave())
  with files.temporary_folder(tempfile.gettempdir(), 'exgan-app-') as folder:
    # Gradio asks for these as it is imported.
    os.environ['GRADIO_TEMP_DIR'] = os.fspath(folder)
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    page = Page(inpainter, folder)
    page.warm_up()
    blocks = make_blocks(page)
    limit = int(max_megabytes * 2**20)
    blocks.launch(
      server_name=host, server_port=port, quiet=True, share=False,
      max_file_size=limit, footer_links=[],
      ssr_mode=False, prevent_thread_lock=True, css=_CSS,
      app_kwargs={'middleware': [(Guard, (host, limit), {})]},
    )  # fmt: skip
    logger.info('http://%s:%d (ctrl-c ends it)', host, port)
    try:
      while True:
        time.sleep(_LOOK_EVERY)
        forget(folder, _KEPT_FOR)
    except (KeyboardInterrupt, SystemExit):
      pass
    finally:
      blocks.close(verbose=False)


def forget(folder: pathlib.Path, age: float) -> None:
  """Removes the files in a folder that are older than so many seconds."""
  for path in folder.rglob('*'):
    with contextlib.suppress(OSError):  # Gradio may have been faster.
      if path.is_file() and time.time() - path.stat().st_mtime > age:
        path.unlink()


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


def make_blocks(page: Page) -> Any:
  """The page itself, of Gradio's components."""
  import gradio as gr

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
      return None, gr.update(choices=[CLOSED, ALL], value=CLOSED)
    shown, count = page.look(photo)
    numbers = [f'face {number}' for number in range(1, count + 1)]
    return shown, gr.update(choices=[CLOSED, ALL, *numbers], value=CLOSED)

  def show(results, number):
    before, after, path, told = results[number]
    return (before, after), gr.update(value=path, interactive=True), told

  def paint(*inputs):
    results = page.paint(*inputs)
    pictures = [
      (shown.after, f'{number}') for number, shown in enumerate(results, 1)
    ]
    choice = gr.update(
      value=pictures, visible=len(results) > 1, selected_index=0
    )
    return (*show(results, 0), results, choice)

  def choose(results, event):
    return show(results, event.index)

  # Gradio asks for the type, and cannot resolve one that is a string.
  choose.__annotations__['event'] = gr.SelectData

  with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
    gr.Markdown(_ABOUT)
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
        which = gr.Dropdown([CLOSED, ALL], value=CLOSED, label='Which face')
        force = gr.Checkbox(label='Paint eyes that look open, too')
        press = gr.Button('Open the eyes', variant='primary', elem_id='press')
        example = gr.Button('Try it with drawn faces', elem_id='example')
    slider = gr.ImageSlider(
      label='Before and after', interactive=False, elem_id='result', buttons=[],
      max_height=700,
    )  # fmt: skip
    results = gr.State([])
    choice = gr.Gallery(
      label='Which one looks best?', elem_id='choice', columns=CANDIDATES,
      visible=False, allow_preview=False, height=220, buttons=[],
    )  # fmt: skip
    told = gr.Markdown(elem_id='told')
    download = gr.DownloadButton(
      'Download the photograph', interactive=False, elem_id='download'
    )
    gr.Markdown(_DUTY)
    photo.change(checked(look), photo, [seen, which])
    inputs = [photo, references, which, force]
    outputs = [slider, download, told]
    choice.select(choose, results, outputs)
    outputs = [*outputs, results, choice]
    press.click(checked(paint), inputs, outputs)
    example.click(page.example, None, [photo, references]).then(
      checked(paint), inputs, outputs
    )
  return blocks
