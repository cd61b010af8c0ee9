"""Starts the servable `add_sub` with one worker, and both servers."""

import argparse
import os
import sys

from servoir import server


def start() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grpc", default="127.0.0.1:5500", help="address of the gRPC server")
    parser.add_argument("--rest", default="127.0.0.1:1500", help="address of the REST server")
    args = parser.parse_args()

    servable_dir = os.path.dirname(os.path.realpath(sys.argv[0]))
    servable_config = server.ServableStartConfig(servable_directory=servable_dir, servable_name="add_sub", device_ids=0)
    server.start_servables(servable_configs=servable_config)
    server.start_grpc_server(address=args.grpc)
    server.start_restful_server(address=args.rest)


if __name__ == "__main__":
    start()
