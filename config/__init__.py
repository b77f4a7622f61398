"""Settings, URLs and process entry points. May import everything; nothing imports it but Django and the servers."""
