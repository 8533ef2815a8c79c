"""Replication: keeps in another object store what one has, over a link that may be cut: the champion, or backups."""
