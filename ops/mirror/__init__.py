"""The site's mirror: everything third-party, pinned by mirror/catalog.yaml, cached, served as a registry."""
