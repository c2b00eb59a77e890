"""Floor 0: pure values and functions. No torch, no Textual, no threads, no files."""
