"""What a servable is: what servable_config.py declares, the graph made of it, and its versions on disk."""
