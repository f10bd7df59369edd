"""Zip archives from strangers: judged from their directory before a byte is inflated, then read within bounds."""
