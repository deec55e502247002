"""The error for bad input, which the user can fix."""


class InputError(ValueError):
  """Input cannot be used. The message is one line and says what to do."""
