"""The errors of this package that callers tell apart, each a RuntimeError, as the public functions promise; and those
that stages raise.

A bad argument is a plain RuntimeError that names the parameter, see servoir.check.
"""

from __future__ import annotations

from typing import ClassVar


class StageError(Exception):
    """What a stage raises to choose the status of its instance: one of the classes below, or one derived from them.

    Any other exception is an internal error of the server. The text is for the client.
    """

    code: ClassVar[int]  # gRPC's number


class InvalidArgument(StageError):
    """The client has sent what cannot be right: HTTP 400."""

    code = 3


class NotFound(StageError):
    """What the client asks for is not there: HTTP 404."""

    code = 5


class PermissionDenied(StageError):
    """The client may not have it: HTTP 403."""

    code = 7


class ResourceExhausted(StageError):
    """The client has used up its share: HTTP 429."""

    code = 8


class Unimplemented(StageError):
    """This servable does not do it: HTTP 501."""

    code = 12


class Unavailable(StageError):
    """It cannot be done now; the client may try again later: HTTP 503."""

    code = 14


class BackendError(RuntimeError):
    """A backend cannot be used, or cannot open a file."""


class ControlError(RuntimeError):
    """The other end of the control socket does not speak its protocol, or is gone."""


class EncryptionError(RuntimeError):
    """A file cannot be encrypted or decrypted; the text says why and what would be right."""


class MissingPemFile(FileNotFoundError, RuntimeError):
    """A file that is named in an SSLConfig does not exist."""
