"""Starts processes: command line, local stack."""
