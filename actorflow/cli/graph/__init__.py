"""`actorflow graph`: what a graph is, and how it is written for terminals, pages and Graphviz."""
