"""The load generator: images, a streaming client, loads, and what they measure, without a terminal; see `run`."""
