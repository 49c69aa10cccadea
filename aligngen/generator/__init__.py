"""From a taxonomy to a deduplicated corpus."""
