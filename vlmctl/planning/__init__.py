"""Pure planning: records in, records out. No files, no network, no clock, no environment."""
