"""Status: a page that shows both sites of an environment at a glance."""
