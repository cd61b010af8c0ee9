"""Starts all three examples in one server. `servables` is a folder with add/, mlp/ and ocr/ and their models in it."""

import argparse
import os

from servoir import server


def start() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servables")
    parser.add_argument("--grpc", default="127.0.0.1:5500", help="address of the gRPC server")
    parser.add_argument("--rest", default="127.0.0.1:1500", help="address of the REST server")
    args = parser.parse_args()

    directory = os.path.abspath(args.servables)
    server.start_servables(
        [
            server.ServableStartConfig(directory, "add", device_ids=0),
            server.ServableStartConfig(directory, "mlp", device_ids=0),
            server.ServableStartConfig(directory, "ocr", device_ids=0),
        ]
    )
    server.start_grpc_server(args.grpc)
    server.start_restful_server(args.rest)


if __name__ == "__main__":
    start()
