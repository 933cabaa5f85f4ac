"""The design's API surface over HTTP: presence, edges, sync status."""
