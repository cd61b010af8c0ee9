"""Models that tests write, or find in packages that are installed."""
