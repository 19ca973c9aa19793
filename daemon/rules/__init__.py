"""Pure policy: rules from text to a typed set, to a plan, to a verdict; no kernel, no root, no host."""
