"""The worker processes of a server: starts them, watches them, replaces those that crash, and ends them."""
