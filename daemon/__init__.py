"""nbspd makes declared checkpoints mandatory on a Linux host."""

__version__ = "0.1.0"
