"""The Kubernetes API types, as typed records."""
