"""The tunnels between the sites, and every host's way to the other side."""

from infra.link.lab_end import LabEnd, LabEndArgs
from infra.link.site_link import Far, SiteLink, SiteLinkArgs

__all__ = ["Far", "LabEnd", "LabEndArgs", "SiteLink", "SiteLinkArgs"]
