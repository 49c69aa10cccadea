"""Taxonomies: read with what they extend, checked, linted, measured and shown."""
