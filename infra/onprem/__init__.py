"""The on-prem site: its machines in the lab, and the cluster that Ansible makes of its hosts."""

from infra.onprem.site import Site, SiteArgs

__all__ = ["Site", "SiteArgs"]
