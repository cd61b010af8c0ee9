"""Serves servables of the benchmark, one worker each."""

import argparse
import os

from servoir import server


def start() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="made by make_models.py")
    parser.add_argument("servables", nargs="+")
    parser.add_argument("--grpc", required=True)
    parser.add_argument("--rest", required=True)
    args = parser.parse_args()

    folder = os.path.abspath(args.folder)
    server.start_servables([server.ServableStartConfig(folder, name, device_ids=0) for name in args.servables])
    server.start_grpc_server(args.grpc)
    server.start_restful_server(args.rest)


if __name__ == "__main__":
    start()
