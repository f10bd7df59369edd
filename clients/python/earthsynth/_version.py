"""The client's version, which it also sends as its User-Agent."""

__version__ = "0.1.0"
