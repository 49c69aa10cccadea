"""Whether documents say what was asked for: a judge's verdicts on a run, and on the judge."""
