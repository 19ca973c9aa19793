"""Facts about this kernel: its types, its maps, its mounts, its processes and what it lets us do."""
