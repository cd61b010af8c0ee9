"""Settings of the server process."""

from servoir.server.master import context

__all__ = ["context"]
