"""Which channels are closed on this host, which are only watched, which are open."""

from .rows import HOST, Coverage, Row

__all__ = ["HOST", "Coverage", "Row"]
