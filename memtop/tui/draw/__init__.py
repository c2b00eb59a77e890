"""Pure drawing: a snapshot, a size and a palette in; rows of styled text out. No app, no clock, no state."""
