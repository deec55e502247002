"""Says in one line why JAX's runtime ended a process.

Where a process of several is lost, the runtime of the others prints a report of
many lines and aborts, and no code of theirs runs any more. So their messages
pass through this program, which adds the line. It imports nothing of JAX.

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
# What nobody who runs a program can use: addresses of machine code, and that
# all went well.
_NOISE = re.compile(r'^(    @ +0x|\*\*\* Check failure|\[Gloo\] Rank)')


def redirect(process: int) -> subprocess.Popen:
  """Lets this process's standard error pass through the program.

  Returns:
    The program, which ends when nobody can write to it any more.
  """
  source, sink = os.pipe()
  # It shall outlive a signal to all processes of a terminal, or of a job: it
  # inherits that SIGTERM waits, and here one that came is not lost.
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
  """The lines worth reading, and the reason of the abort, if there was one."""
  kept: list[str] = []
  is_fatal = False
  for line in lines:
    if _NOISE.match(line):
      continue
    is_fatal = is_fatal or bool(_FATAL.match(line))
    # Only the runtime's own words matter; those of a long run are many.
    kept = [*kept[-200:], line]
    yield line
  if is_fatal:
    yield f'exgan: process {process}: {_reason(process, "".join(kept))}\n'


def _reason(process: int, text: str) -> str:
  found = _NAMES.findall(text)
  names = sorted({int(n) for _, some in found for n in _numbers(some)})
  which = 'process ' + ', '.join(map(str, names))
  if any('timed out' in kind for kind, _ in found) or 'RegisterTask' in text:
    if not names:
      which = 'process 0' if process else 'another process'
    return f'{which} did not come in time (--barrier-timeout)'
  if not names:
    is_leader = 'Failed to send RPC' in text or 'leader' in text
    which = 'process 0' if is_leader and process else 'another process'
  return f'{which} was lost: start all of them again'


def _numbers(names: str) -> list[str]:
  return re.findall(r'(\d+)\s*$', names, re.MULTILINE)


def _lines(source: int) -> Iterator[bytes]:
  """Lines as they come, and progress bars, which have no end, at once."""
  rest = b''
  while chunk := os.read(source, 2**16):
    *whole, rest = re.split(rb'(?<=\n)|(?=\r)', rest + chunk)
    yield from whole
    if rest.startswith(b'\r'):
      yield rest
      rest = b''
  if rest:
    yield rest


def _main() -> None:
  texts = (line.decode(errors='replace') for line in _lines(sys.stdin.fileno()))
  for line in explained(int(sys.argv[1]), texts):
    sys.stderr.write(line)
    sys.stderr.flush()


if __name__ == '__main__':
  _main()
