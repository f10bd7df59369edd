"""The client, written once: `_sync` is made from these files by `make_sync.py`."""
