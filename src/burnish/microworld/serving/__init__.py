"""The oracle behind a socket."""
