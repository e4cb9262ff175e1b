"""The operator of a join."""

from __future__ import annotations

from headwater.engine.operator import Operator
from headwater.engine.operators.join import JoinOperator
from headwater.engine.operators.join_threshold import ThresholdJoinOperator
from headwater.engine.worker import Worker
from headwater.sql.join_plan import Join


def join_operator(node: Join, worker: Worker) -> Operator:
    """What runs a `Join` node."""
    if node.ranged is not None and node.ranged.threshold:
        return ThresholdJoinOperator(node, worker, node.ranged)
    return JoinOperator(node, worker)
