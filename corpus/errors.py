"""The one exception that every job turns into a clear line for its user."""


class InputError(ValueError):
    """What the user gave cannot be used; the message says where, what and how to mend it."""
