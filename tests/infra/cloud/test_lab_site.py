"""What stands in a lab in Amazon's place, as any site's hosts."""

from __future__ import annotations

from infra.cloud import lab_site, subnets
from infra.environment import Cloud, NodeGroup
from tests.infra import recording

LAB = recording.hybrid().cloud
assert LAB is not None


def sized(**desired: int) -> Cloud:
    """The lab's cloud half with other sizes of its groups."""
    assert LAB is not None
    groups = [group.model_copy(update={"desired": desired.get(group.name, 0)}) for group in LAB.node_groups]
    return LAB.model_copy(update={"node_groups": tuple(groups)})


def nodes(cloud: Cloud) -> dict[str, str]:
    return {host.name: str(host.address) for host in lab_site.site(cloud).having("worker")}


def test_every_group_has_as_many_nodes_as_it_desires() -> None:
    assert list(nodes(sized(general=2, batch=1))) == ["cloud-general-1", "cloud-general-2", "cloud-batch-1"]
    assert nodes(sized()) == {}


def test_a_group_that_grows_moves_no_other_node() -> None:
    before, after = nodes(sized(general=1, batch=2)), nodes(sized(general=20, batch=2))
    assert before.items() <= after.items()
    assert len(set(after.values())) == len(after)


def test_nodes_are_spread_over_the_private_subnets_of_their_zones() -> None:
    cloud = sized(general=4)
    zones = {zone.name: zone.private for zone in subnets.plan(cloud.network.cidr, cloud.zones)}
    for host in lab_site.site(cloud).having("worker"):
        assert host.address in zones[host.labels["topology.kubernetes.io/zone"]]
    assert len({host.labels["topology.kubernetes.io/zone"] for host in lab_site.site(cloud).having("worker")}) == 3


def test_a_group_that_names_zones_has_nodes_in_no_other() -> None:
    cloud = sized(general=4, batch=1)
    first, _, last = cloud.zones
    general, *rest = cloud.node_groups
    general = general.model_copy(update={"zones": (last, first)})
    cloud = cloud.model_copy(update={"node_groups": (general, *rest)})
    zones = {zone.name: zone.private for zone in subnets.plan(cloud.network.cidr, cloud.zones)}
    found = [host for host in lab_site.site(cloud).having("worker") if host.name.startswith("cloud-general-")]
    assert [host.labels["topology.kubernetes.io/zone"] for host in found] == [last, first, last, first]
    assert all(host.address in zones[host.labels["topology.kubernetes.io/zone"]] for host in found)
    assert len(nodes(cloud)) == len(set(nodes(cloud).values())) == 5


def test_nodes_carry_what_their_group_says_and_a_gpu_groups_nodes_more() -> None:
    batch = lab_site.site(sized(batch=1)).having("worker")[0]
    assert (batch.labels["workload"], batch.taints) == ("batch", ("workload=batch:NoSchedule",))
    gpu = NodeGroup(
        name="gpu", capacity="on_demand", instance_types=("g6.xlarge",), accelerator="nvidia", min=0, desired=1, max=1
    )
    cloud = sized().model_copy(update={"node_groups": (gpu,)})
    node = lab_site.site(cloud).having("worker")[0]
    assert node.labels["nvidia.com/gpu.present"] == "true"
    assert node.taints == ("nvidia.com/gpu=present:NoSchedule",)


def test_no_two_of_the_sites_addresses_are_the_same() -> None:
    cloud = sized(general=3, batch=2)
    site = lab_site.site(cloud)
    network = site.network
    fixed = [network.gateway, network.mirror_address, network.api_address, network.ingress_address]
    every = [*fixed, lab_site.aws_api(cloud), *(host.address for host in site.hosts)]
    assert len(set(every)) == len(every)
    assert all(address in network.cidr for address in every)
