"""The lab's CSI driver. It stands in for a site's storage: one pool on the lab's machine, seen by every host.

The kernel here has neither NFS nor iSCSI, so hosts cannot reach a server. They do share that kernel: an image file that
each of them mounts is one file system, coherent on all of them. That holds in the lab only, and so does this driver.
"""

DRIVER = "lab.csi.isthmus.dev"
