"""How fast actorflow is, beside the least that the same work could cost: see `README.md` in this folder."""
