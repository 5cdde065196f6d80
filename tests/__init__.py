"""A regular package: a namespace would give way to the `tests` that an installed distribution brings along."""
