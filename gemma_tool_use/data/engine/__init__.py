"""Many rows at once: units mapped by processes, one global stage on their keys, files written whole or not at all."""
