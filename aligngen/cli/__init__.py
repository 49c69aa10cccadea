"""The command line: parse, one call, output for people or programs."""
