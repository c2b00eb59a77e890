"""Inside the target: standard library and the target's own torch, nothing else.

Found by path, never imported by the monitor.
"""
