"""The client: servoir.client.Client. Importing it is cheap; grpc and numpy are loaded when a Client is made."""

from servoir.client.client import Client, InferFuture, SSLConfig

__all__ = ["Client", "InferFuture", "SSLConfig"]
