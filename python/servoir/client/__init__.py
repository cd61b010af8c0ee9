"""The client: servoir.client.Client. Importing it is cheap; grpc and numpy are loaded when a Client is made."""

from servoir.client.client import Client, SSLConfig
from servoir.client.errors import InferError
from servoir.client.future import InferFuture

__all__ = ["Client", "InferError", "InferFuture", "SSLConfig"]
