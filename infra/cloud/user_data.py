"""What a node at Amazon runs when it first starts, before its kubelet: no Ansible comes to these hosts."""

from __future__ import annotations

import base64
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Final

SYSCTL_FILE: Final = "/etc/sysctl.d/99-zzz-override_cilium.conf"
"""Under the name that Cilium itself would give it: of two files' patterns the later name holds."""

SCRIPT: Final = f"""\
#!/bin/sh
set -eu
cat >{SYSCTL_FILE} <<'END'
# systemd would set 2 on each device that is new, after Cilium has set 0. A pod's device has no address, so that the
# kernel then takes what the pod answers its own node for forged: probes would fail, and pods would get no identity.
-net.ipv4.conf.lxc*.rp_filter = 0
-net.ipv4.conf.cilium_*.rp_filter = 0
# The kernel goes by the larger of this and the device's own.
net.ipv4.conf.all.rp_filter = 0
END
systemctl restart systemd-sysctl.service
"""

BOUNDARY: Final = "==isthmus=="
"""Always the same: another text is another version of the launch template, for which EKS replaces each node."""


def user_data() -> str:
    """As a launch template has it. EKS joins it with its own part, by which nodes find their cluster, if it is MIME."""
    message = MIMEMultipart(boundary=BOUNDARY)
    message.attach(MIMEText(SCRIPT, "x-shellscript", "us-ascii"))
    return base64.b64encode(message.as_bytes()).decode()
