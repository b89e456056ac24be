"""From nodes to the model: one reader for each kind of mapping, which reports what is wrong with it and reads on."""
