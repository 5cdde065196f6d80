"""Files to records: the only place that reads the catalog."""
