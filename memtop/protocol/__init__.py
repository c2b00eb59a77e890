"""Floor 1: what crosses the socket, and how it is framed."""
