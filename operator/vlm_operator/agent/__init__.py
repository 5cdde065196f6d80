"""The sidecar of each engine: tries it, measures it and lets traffic in; see `sidecar`."""
