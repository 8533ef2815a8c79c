"""The tunnels between the sites: the on-prem ends, and every host's way to the other side."""

from infra.link.site_link import SiteLink, SiteLinkArgs

__all__ = ["SiteLink", "SiteLinkArgs"]
