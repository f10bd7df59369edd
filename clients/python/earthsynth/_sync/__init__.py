"""The sync client: made from `_async` by `make_sync.py`; only this file and `pauses.py` are written by hand."""
