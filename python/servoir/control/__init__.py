"""What server and worker tell each other over the control socket."""
