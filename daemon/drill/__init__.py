"""The drill: bypasses, attempted on a live host against throw-away resources, and what became of each."""
