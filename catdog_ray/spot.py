"""Ray's AWS provider, with on-demand instances where AWS has no spot capacity; `provider.module` of cluster.yaml.

The autoscaler of Ray 2.60 does not turn to another node type when an instance is refused: `CloudResourceMonitor` heeds
time-outs only, and a refused RunInstances ends as ALLOCATION_FAILED. It would ask for the same type for ever.
"""

from __future__ import annotations

from typing import Any

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler.node_launch_exception import NodeLaunchException

NO_CAPACITY = (
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
)
"""Codes by which AWS says that there is no spot instance for us, in any availability zone that was tried."""


class SpotThenOnDemand(AWSNodeProvider):
    """Asks for what the node type says; a refused spot request is made again on demand, at the on-demand price."""

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Raises NodeLaunchException where on-demand instances are refused too, or for any other reason."""
        try:
            return dict(super().create_node(node_config, tags, count))
        except NodeLaunchException as refused:
            if "InstanceMarketOptions" not in node_config or refused.category not in NO_CAPACITY:
                raise
        on_demand = {key: value for key, value in node_config.items() if key != "InstanceMarketOptions"}
        return dict(super().create_node(on_demand, {**tags, "catdog-ray-market": "on-demand"}, count))
