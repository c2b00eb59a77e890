"""What the scenarios share: command line, data, files. PyTorch and the standard library alone."""
