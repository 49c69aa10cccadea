"""Engines: what turns a request into a completion."""
