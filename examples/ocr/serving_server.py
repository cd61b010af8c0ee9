"""Starts the servable `ocr` with a worker for the models and one more for Python stages, and both servers."""

from servoir import server

server.start_servables(server.ServableStartConfig(".", "ocr", device_ids=0, num_parallel_workers=2))
server.start_grpc_server("127.0.0.1:5500")
server.start_restful_server("127.0.0.1:1500")
