"""Runs a command, and runs it again as its exit code asks for.

  python launch/restart.py COMMAND [ARGUMENT ...]

  0, 2, 126, 127, 130  done, bad input, no such program, Ctrl-C: it ends here
  75                   preempted, with the state saved: again
  76, any other        a process was lost, or a failure: again, but not often

From the environment:
  MAX_FAILURES   how often it may fail and be run again             (5)
  RESTART_DELAY  seconds before that: devices and ports become free (10)
  ON_PREEMPTION  `again`, or `leave`: 75 is left to the caller      (again)

SIGTERM, Ctrl-C and a closed terminal are handed on as SIGTERM: the command
saves its state, and is not run again. Ends with the command's last exit code.
"""

# In Python, as bash loses an exit code now and then when signals come in pairs.

import os
import signal
import subprocess
import sys
import threading
import time

_ENDS = (0, 2, 126, 127, 130)
_PREEMPTED = 75
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Runner:
  """Runs one command at a time, until the first signal."""

  def __init__(self):
    self.stopped = threading.Event()
    self._child: subprocess.Popen | None = None
    self._is_told = False
    for number in _SIGNALS:
      if signal.getsignal(number) != signal.SIG_IGN:  # By nohup.
        signal.signal(number, self._stop)

  def run(self, command: list[str]) -> int:
    """Returns the exit code as a shell would tell it."""
    try:
      # In a group of its own: Ctrl-C reaches it as SIGTERM, once.
      self._child = subprocess.Popen(command, process_group=0)
    except OSError as error:
      print(f'restart: {command[0]}: {error.strerror}', file=sys.stderr)
      return 127
    if self.stopped.is_set():
      self._child.terminate()
    code = self._child.wait()
    self._child = None
    return code if code >= 0 else 128 - code

  def _stop(self, *_) -> None:
    # Once: a second one could end a process that is about to end by itself. It
    # may come while the first is being handled.
    was_told, self._is_told = self._is_told, True
    self.stopped.set()
    if self._child is not None and not was_told:
      self._child.terminate()


def main(command: list[str]) -> int:
  """Returns the last exit code."""
  if not command:
    print(__doc__, file=sys.stderr)
    return 2
  allowed = int(os.environ.get('MAX_FAILURES', '5'))
  delay = float(os.environ.get('RESTART_DELAY', '10'))
  leave = os.environ.get('ON_PREEMPTION', 'again') == 'leave'
  runner = _Runner()
  failures = 0
  while True:
    began = time.monotonic()
    code = runner.run(command)
    if code in _ENDS or (code == _PREEMPTED and leave):
      return code
    what = 'preempted'
    if code != _PREEMPTED:
      failures += 1
      what = f'failure {failures}, {allowed} allowed'
    ends = runner.stopped.is_set() or failures > allowed
    print(
      f'restart: exit code {code} after {time.monotonic() - began:.0f} s'
      f' ({what}): {"no more" if ends else f"again in {delay:g} s"}',
      file=sys.stderr,
      flush=True,
    )
    if ends or runner.stopped.wait(delay):
      return code


if __name__ == '__main__':
  exit_code = main(sys.argv[1:])
  # One that comes now must not change it.
  for each in _SIGNALS:
    signal.signal(each, signal.SIG_IGN)
  sys.exit(exit_code)
