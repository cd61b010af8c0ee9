"""Starts the servable `forecast` with one worker, and both servers."""

from servoir import server

server.start_servables(server.ServableStartConfig(".", "forecast", device_ids=0))
server.start_grpc_server("127.0.0.1:5500")
server.start_restful_server("127.0.0.1:1500")
