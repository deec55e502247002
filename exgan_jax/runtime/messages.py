"""Filters standard error and explains in one line why JAX aborted a process.

If one of several processes dies, JAX's runtime prints a long report in the
others and aborts them without running any of their code. Their standard error
is therefore piped through this program. It does not import JAX.

python messages.py PROCESS < MESSAGES
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator

_FATAL = re.compile(r'^F\d{4} .*Terminating process')
_NAMES = re.compile(
  r'(timed out task names|stopped sending heartbeats\)):\s*\n'
  r'((?:\S*\d+\s*\n)+)'
)
# Stack traces of machine code and reports of success.
_NOISE = re.compile(r'^(    @ +0x|\*\*\* Check failure|\[Gloo\] Rank)')


def redirect(process: int) -> subprocess.Popen:
  """Pipes this process's standard error through the program.

  Returns:
    The program, which exits at the end of its input.
  """
  source, sink = os.pipe()
  # The program must survive a signal to the whole terminal or job. It inherits
  # the blocked SIGTERM; here a pending one is delivered afterwards.
  before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
  try:
    program = subprocess.Popen(
      [sys.executable, '-I', __file__, str(process)],
      stdin=source,
      start_new_session=True,
    )
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
  os.dup2(sink, sys.stderr.fileno())
  os.close(source)
  os.close(sink)
  return program


def explained(process: int, lines: Iterable[str]) -> Iterator[str]:
  """Yields lines without noise, then the reason if the process was aborted."""
  kept: list[str] = []
  is_fatal = False
  for line in lines:
    if _NOISE.match(line):
      continue
    is_fatal = is_fatal or bool(_FATAL.match(line))
    # The runtime's report is at the end.
    kept = [*kept[-200:], line]
    yield line
  if is_fatal:
    yield f'exgan: process {process}: {_reason(process, "".join(kept))}\n'


def _reason(process: int, text: str) -> str:
  found = _NAMES.findall(text)
  numbers = {
    int(number)
    for _, names in found
    for number in re.findall(r'(\d+)\s*$', names, re.MULTILINE)
  }
  timed_out = 'RegisterTask' in text or any('timed out' in x for x, _ in found)
  leader_lost = 'Failed to send RPC' in text or 'leader' in text
  if numbers:
    which = 'process ' + ', '.join(map(str, sorted(numbers)))
  elif process and (timed_out or leader_lost):
    which = 'process 0'
  else:
    which = 'another process'
  if timed_out:
    return f'{which} did not start in time (--barrier-timeout)'
  return f'{which} was lost: restart all processes'


def _lines(source: int) -> Iterator[bytes]:
  """Yields lines, and progress bars, which end with '\\r', without delay."""
  rest = b''
  while chunk := os.read(source, 2**16):
    *whole, rest = re.split(rb'(?<=\n)|(?=\r)', rest + chunk)
    yield from whole
    if rest.startswith(b'\r'):
      yield rest
      rest = b''
  if rest:
    yield rest


if __name__ == '__main__':
  texts = (line.decode(errors='replace') for line in _lines(0))
  for line in explained(int(sys.argv[1]), texts):
    sys.stderr.write(line)
    sys.stderr.flush()
