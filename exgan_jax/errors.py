"""The one error that the user, and not the program, has to mend."""


class InputError(ValueError):
  """Something given from outside cannot be used; the message is one line."""
