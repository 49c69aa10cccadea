"""Scenario records: read, made from passages or taxonomy cells, checked, judged, exported."""
