"""The cloud half on AWS: network, EKS, nodes, identity, stores and the link to the site, one concern a file.

Nothing is imported here: AWS's SDK takes a second to load, and who asks for a pure part need not wait for it.
"""
