"""From a file, or a dict, to nodes that know where they stood; and what is wrong with text that is no YAML."""
