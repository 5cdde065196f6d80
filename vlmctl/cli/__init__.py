"""The command line: one module per command; output, options and errors are shared."""
