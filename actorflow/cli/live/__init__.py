"""The live view of a run: what is known of it (`view`), how that looks (`frame`), and how it gets onto a terminal (`display`)."""
