"""Progress bars, for people and for log files."""

import sys

import tqdm

# A terminal overwrites the line, but a file keeps all of them.
_SECONDS_IN_A_FILE = 30


def bar(*args, **kwargs) -> tqdm.tqdm:
  """Returns a progress bar on stderr; arguments as for `tqdm.tqdm`."""
  seconds = 0.1 if sys.stderr.isatty() else _SECONDS_IN_A_FILE
  return tqdm.tqdm(*args, mininterval=seconds, **kwargs)
