"""The control socket: who may ask the daemon what, and how it is said on the wire."""
