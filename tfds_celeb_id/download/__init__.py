"""Downloads the pictures of a list of addresses, such as Celeb-ID's.

Many of those addresses are dead by now, so most of this is about failure: what
may pass is tried again in later rounds, what will not is written down with the
reason, and a run that was cut off goes on with what is missing. The HTTP
library belongs to the extra `download`.
"""

import asyncio
import os
import pathlib

from exgan_jax.errors import InputError
from tfds_celeb_id.download import files
from tfds_celeb_id.download.files import Limits, Missing, Summary

__all__ = ['Limits', 'Missing', 'Summary', 'download']


def download(
  urls: str | os.PathLike,
  folder: str | os.PathLike,
  report: str | os.PathLike,
  limits: Limits | None = None,
  retry_dead: bool = False,
) -> Summary:
  """Fetches what a folder lacks of a list; returns what became of the list.

  A file appears in the folder whole and checked to be a picture, or not at all.

  Args:
    urls: path of the list.
    folder: for the pictures.
    report: one JSON object a line for each picture that is missing, written as
      the run goes on; what it says is dead is not asked for again.
    limits: of what is asked for.
    retry_dead: ask for it again.

  Raises:
    InputError: the list cannot be read, nothing can be written, or the HTTP
      library is not installed.
  """
  try:
    from tfds_celeb_id.download.fetcher import Fetcher
  except ImportError as error:
    raise InputError(
      "downloading needs aiohttp: pip install 'exgan_jax[download]'"
    ) from error
  wanted, unusable = files.read_urls(urls)
  if not wanted and not unusable:
    raise InputError(f'{urls} lists no address')
  folder, report = pathlib.Path(folder), pathlib.Path(report)
  with files.writing(folder):
    folder.mkdir(parents=True, exist_ok=True)
    names = files.names_in(folder)
  known = {} if retry_dead else files.read_report(report)
  there = [each for each in wanted if each.filename in names]
  dead = [
    known[each.url]
    for each in wanted
    if each.url in known and each.filename not in names
  ]
  todo = [
    each
    for each in wanted
    if each.filename not in names and each.url not in known
  ]
  summary = Summary(there=len(there), missing=[*unusable, *dead])
  with files.writing(report):
    files.write_report(summary.missing, report)

  def note(missing):
    with files.writing(report), open(report, 'a', encoding='ascii') as file:
      file.write(files.line_of(missing))

  fetcher = Fetcher(folder, limits or Limits(), note)
  asyncio.run(fetcher.fetch(todo, summary))
  with files.writing(report):
    files.write_report(summary.missing, report)
  return summary
