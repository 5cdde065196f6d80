"""A plan as vLLM arguments and as manifests."""
