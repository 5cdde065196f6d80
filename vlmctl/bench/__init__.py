"""The load generator (not filled yet)."""
