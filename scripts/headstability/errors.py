"""The one exception a user is meant to read."""


class UserError(Exception):
    """Something the user can put right.

    The message says what is wrong, where (key, file or cell) and how to fix it; scripts print
    it alone, without a traceback.
    """
