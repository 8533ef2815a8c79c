"""The tunnels between the sites: the on-prem ends, every host's way to the other side, and in a lab the far ends."""

from infra.link.site_link import SiteLink, SiteLinkArgs

__all__ = ["SiteLink", "SiteLinkArgs"]
