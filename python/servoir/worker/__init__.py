"""The worker process: imports servable_config.py, opens its models, and runs batches for the server."""
