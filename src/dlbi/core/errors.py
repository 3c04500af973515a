"""Errors a user can act on: each message says what arrived, what was needed and what to do."""

from __future__ import annotations


class DlbiError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(DlbiError, ValueError):
    """A value, option or file content that cannot be used."""


class ShapeError(InputError):
    """An array whose number of axes or size does not fit its purpose."""


class FileFormatError(InputError):
    """A file that is not what it should be: truncated, of another kind, or ambiguous."""


class OutputError(DlbiError, OSError):
    """An output that cannot be written, or that exists already."""


class DlbiWarning(UserWarning):
    """Something the user should know about the result: a default taken, a limit met."""


def expect(what: str, value: object, kinds: type | tuple[type, ...], how: str) -> None:
    """Refuse a value of another type.

    Parameters
    ----------
    what : str
        Its name for the user.
    value : object
    kinds : type or tuple of type
    how : str
        How to get one that fits.

    Raises
    ------
    InputError
    """
    if not isinstance(value, kinds):
        wanted = kinds if isinstance(kinds, tuple) else (kinds,)
        names = " or ".join(kind.__name__ for kind in wanted)
        raise InputError(f"{what} must be of type {names}, got {type(value).__name__}; {how}")
