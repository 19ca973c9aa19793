"""make demo: what nbspd does, shown on this machine's own kernel in a place of its own that vanishes afterwards."""
