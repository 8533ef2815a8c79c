"""Replication: keeps the champion of one object store in another, over a link that may be cut."""
