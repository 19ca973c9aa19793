"""Which channels are closed on this host, which are only watched, which are open."""

from .channels import whys
from .host import absent_channels
from .rows import HOST, Coverage, Row

__all__ = ["HOST", "Coverage", "Row", "absent_channels", "whys"]
