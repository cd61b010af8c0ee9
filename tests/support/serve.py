"""Server script of the end-to-end tests: starts what --servable says, then both servers."""

import argparse
import json

from servoir import server


def start() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servable", action="append", default=[], help="JSON: keywords of ServableStartConfig")
    parser.add_argument("--grpc", required=True)
    parser.add_argument("--rest", required=True)
    parser.add_argument("--max-mb", type=int, default=100)
    parser.add_argument("--max-enqueued", type=int)
    parser.add_argument("--tls", type=json.loads, help="JSON: keywords of SSLConfig, for both servers")
    args = parser.parse_args()

    if args.max_enqueued:
        server.master.context.set_max_enqueued_requests(args.max_enqueued)
    server.start_servables([server.ServableStartConfig(**json.loads(text)) for text in args.servable])
    tls = server.SSLConfig(**args.tls) if args.tls else None
    server.start_grpc_server(args.grpc, max_msg_mb_size=args.max_mb, ssl_config=tls)
    server.start_restful_server(args.rest, max_msg_mb_size=args.max_mb, ssl_config=tls)


if __name__ == "__main__":
    start()
