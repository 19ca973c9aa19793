"""Benchmarks, one file a budget of the design; python3 -m bench runs them and prints a table and JSON.

They run on this machine's kernel, in a network namespace, a cgroup and a folder of pins of their own, and remove them.
"""
