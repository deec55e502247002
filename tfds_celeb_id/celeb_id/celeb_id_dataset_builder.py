"""celeb_id: the benchmark Celeb-ID, aligned by its authors or here."""

import functools
import logging
from typing import ClassVar

import requests
import tensorflow_datasets as tfds

from exgan_jax.errors import InputError
from tfds_celeb_id import work
from tfds_celeb_id.builder import RecordsBuilder
from tfds_celeb_id.celeb_id import entries, listing, sources

ARCHIVE_URL = 'http://www.canton.cat/celeb_id_aligned.zip'

_INSTRUCTIONS = (
  'Put celeb_id_aligned.zip, or celeb_id_aligned/ with its data.json, or '
  'celeb_id_raw/ and celeb_params.json, into a folder;\n'
  'pass the folder as --manual_dir. (The archive was at '
  f'{ARCHIVE_URL}; `python -m tfds_celeb_id.download` downloads raw pictures.)'
)

_logger = logging.getLogger(__name__)


class Builder(RecordsBuilder):
  """Aligned faces of celebrities, the benchmark of Exemplar GANs."""

  VERSION = tfds.core.Version('1.1.0')
  RELEASE_NOTES: ClassVar = {
    '1.0.0': 'First version.',
    '1.1.0': 'The feature `corners`, which is all NaN here.',
  }
  SIZE = 256
  HOMEPAGE = 'https://github.com/bdol/exemplar_gans'
  MANUAL_DOWNLOAD_INSTRUCTIONS = _INSTRUCTIONS

  def _work(self, dl_manager):
    folder = self._manual_folder(dl_manager)
    source = sources.find(folder) if folder else None
    if source is None and self._manual_dir:
      raise InputError(f'{folder} has no files of Celeb-ID. {_INSTRUCTIONS}')
    source = source or self._archive(dl_manager)
    _logger.info('Building from %s', source.origin)
    parse = (
      listing.parse_aligned
      if source.kind == sources.ALIGNED
      else listing.parse_raw
    )
    try:
      pictures = parse(source.listing)
    except InputError as error:
      raise InputError(f'{source.origin}: {error}') from error
    return work.Work(
      functools.partial(
        entries.make_entry, source=source.pictures, size=self.SIZE
      ),
      [*source.rejected, *pictures],
      {'source': source.kind},
    )

  def _archive(self, dl_manager) -> sources.Source:
    """Downloads the authors' archive."""
    try:
      # TFDS would retry for minutes if the server does not exist.
      requests.head(ARCHIVE_URL, timeout=30)
      path = dl_manager.download(ARCHIVE_URL)
    except (
      *(requests.RequestException, OSError),
      tfds.download.DownloadError,
    ) as error:
      raise _not_downloaded(type(error).__name__) from error
    try:
      return sources.in_archive(sources.ALIGNED, path)
    except InputError as error:
      # The server sent a web page instead, which TFDS must not cache.
      for each in (path, path.with_suffix(path.suffix + '.INFO')):
        each.unlink(missing_ok=True)
      raise _not_downloaded(error) from error


def _not_downloaded(reason) -> InputError:
  return InputError(
    f'cannot download {ARCHIVE_URL} ({reason}). {_INSTRUCTIONS}'
  )
