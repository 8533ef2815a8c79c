"""The program: an environment file in; hosts, cluster, platform and workloads out, in that order and no other."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The language host puts this folder first, where infra/platform would hide Python's own `platform`.
HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

import pulumi  # noqa: E402

from infra import alert_secrets, environment, settings, sites  # noqa: E402
from infra.artifacts import ArtifactError, Index  # noqa: E402
from infra.platform.chart import ChartError  # noqa: E402


def main() -> None:
    """Wires the sites; what they are made of is theirs."""
    resources: list[pulumi.Resource] = []
    pulumi.runtime.register_stack_transformation(lambda made: resources.append(made.resource))
    pulumi.run(lambda: registered(resources))
    file = settings.environment_file(pulumi.get_stack())
    env = environment.load(file)
    index = Index.load()
    if pulumi.runtime.is_dry_run():
        index = index.for_preview()
    pulumi.export("environment_digest", environment.digest(file))
    secrets = alert_secrets.of(env, preview=pulumi.runtime.is_dry_run())
    with nearest_frames():
        site = sites.onprem(env, index, secrets)
        if env.cloud and not settings.onprem_alone():
            sites.cloud(env, index, site, secrets)


@contextmanager
def nearest_frames() -> Iterator[None]:
    """Has the SDK tell the engine of each resource's stack trace the nearest frames, half of which are its own.

    All of it would be a quarter of the state, which the engine writes twice a resource: frames of the runtime, the same
    ones each time. An error of the program is printed afterwards, whole.
    """
    sys.tracebacklimit = 12
    try:
        yield
    finally:
        del sys.tracebacklimit


async def registered(resources: list[pulumi.Resource]) -> pulumi.Inputs:
    """Waits until the engine has answered for every resource.

    The SDK would wait for each of their thousands of values, and look at all that are missing again whenever some have
    come: a fifth of a preview's time.
    """
    await asyncio.wait([asyncio.ensure_future(one.urn.future()) for one in resources])
    return {}


try:
    main()
except (environment.InvalidEnvironment, ArtifactError, settings.NotSetUp, ChartError) as error:
    # Shown as it is, without a traceback: the fault is not in the program.
    raise pulumi.RunError(str(error)) from None
