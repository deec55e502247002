"""Fetches pictures from the addresses in a list; see the package."""

import argparse
import collections
import sys

from exgan_jax.errors import InputError
from tfds_celeb_id import download


def main() -> int:
  """Runs the command; returns its exit code."""
  try:
    return _run()
  except InputError as error:
    print(f'download: {error}', file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print('download: stopped; run again to go on', file=sys.stderr)
    return 130


def _run() -> int:
  limits = download.Limits()
  parser = argparse.ArgumentParser(
    prog='python -m tfds_celeb_id.download',
    description='Fetches what a folder lacks of a list of pictures. Run again, '
    'it goes on where it stopped.',
  )
  parser.add_argument('urls', help='file with one address a line')
  parser.add_argument('folder', help='where the pictures go: celeb_id_raw')
  parser.add_argument(
    '--report',
    help='where to write what is missing and why (FOLDER.missing.jsonl)',
  )
  parser.add_argument(
    '--retry-dead',
    action='store_true',
    help='ask again for what the report says is dead',
  )
  for name, text in {
    'connections': 'at once',
    'per_host': 'connections to one host at once',
    'rounds': 'how often to try an address',
    'timeout': 'seconds for one picture',
    'max_bytes': 'of one picture',
  }.items():
    default = getattr(limits, name)
    parser.add_argument(
      f'--{name.replace("_", "-")}',
      type=type(default),
      default=default,
      help=f'{text} ({default})',
    )
  args = vars(parser.parse_args())
  urls, folder = args.pop('urls'), args.pop('folder')
  report = args.pop('report') or f'{folder.rstrip("/")}.missing.jsonl'
  retry_dead = args.pop('retry_dead')
  if min(args.values()) <= 0:
    raise InputError('limits must be larger than 0')
  summary = download.download(
    urls, folder, report, download.Limits(**args), retry_dead
  )
  _print(summary, report)
  return 0


def _print(summary, report: str) -> None:
  dead = sum(each.dead for each in summary.missing)
  print(
    f'{summary.fetched} fetched, {summary.there} were there, {dead} dead, '
    f'{len(summary.missing) - dead} to be tried again'
  )
  reasons = collections.Counter(each.reason for each in summary.missing)
  for reason, count in reasons.most_common():
    print(f'{count:8} {reason}')
  print(f'report: {report}')


if __name__ == '__main__':
  sys.exit(main())
