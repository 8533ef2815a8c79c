"""The program: an environment file in; hosts, cluster, platform and workloads out, in that order and no other."""

import sys
from pathlib import Path

# The language host puts this folder first, where infra/platform would hide Python's own `platform`.
HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

import pulumi  # noqa: E402
import pulumi_kubernetes as kubernetes  # noqa: E402

from infra import addressing, environment, settings  # noqa: E402
from infra.artifacts import ArtifactError, Index  # noqa: E402
from infra.onprem import Site, SiteArgs  # noqa: E402
from infra.platform import Platform, PlatformArgs  # noqa: E402
from infra.platform.chart import ChartError  # noqa: E402
from infra.workloads import Workloads, WorkloadsArgs  # noqa: E402


def main() -> None:
    """Wires the components; what they are made of is theirs."""
    file = settings.environment_file(pulumi.get_stack())
    env = environment.load(file)
    index = Index.load()
    network = env.onprem.network

    site = Site("onprem", SiteArgs(environment=env, index=index))
    provider = kubernetes.Provider(
        "onprem",
        kubeconfig=site.kubeconfig,
        # A renewed certificate in the kubeconfig is not another cluster.
        cluster_identifier=env.onprem.cluster.name,
        # What an interrupted run made before the engine heard of it is taken over, not refused.
        upsert_existing_objects=True,
        opts=pulumi.ResourceOptions(deleted_with=site.cluster.playbook),
    )
    # Nothing in a cluster is deleted one by one when the cluster itself is.
    inside = pulumi.ResourceOptions(providers=[provider], deleted_with=site.cluster.playbook)
    platform = Platform("platform", PlatformArgs(environment=env, index=index), inside)
    Workloads("workloads", WorkloadsArgs(environment=env, index=index, platform=platform), inside)

    if env.cloud:
        # Here: AWS's SDK takes a second to load, which a site that stands alone need not wait for.
        from infra.cloud import Cloud, CloudArgs

        cloud = Cloud("cloud", CloudArgs(environment=env))
        pulumi.export("cloud_kubeconfig", cloud.kubeconfig)

    pulumi.export("environment_digest", environment.digest(file))
    pulumi.export("api_endpoint", addressing.api_url(network))
    pulumi.export("ingress_url", addressing.ingress_url(network))
    pulumi.export("kubeconfig", site.kubeconfig)


try:
    main()
except (environment.InvalidEnvironment, ArtifactError, settings.NotSetUp, ChartError) as error:
    # Shown as it is, without a traceback: the fault is not in the program.
    raise pulumi.RunError(str(error)) from None
