"""The swap itself: new views take the place of the former ones, and the next epoch writes their tables."""

from __future__ import annotations

from collections.abc import Callable

from headwater import failpoint
from headwater.runtime.pipeline import Pipeline
from headwater.runtime.swap.build import Build


def require_tables(pipeline: Pipeline, build: Build) -> None:
    """Makes sure that the tables can take the new models, and opens those that are new.

    Raises:
        UserError: one cannot; nothing has changed.
    """
    for node in build.nodes.values():
        for spec, table in zip(node.specs, node.model.tables, strict=True):
            pipeline.sinks.require(spec, pipeline.epoch + 1, anew=not table.traced)


def adopt(pipeline: Pipeline, build: Build, adopted: Callable[[], None]) -> bool:
    """Swaps the models of a build that has nearly caught up. Whole when this returns; after a crash anywhere in it the
    old version is there whole, or the new one.

    Args:
        pipeline: between two epochs.
        build: its models.
        adopted: called when the dataflow is the new one.

    Returns:
        False if the inputs changed in the last moment: the build must begin again, and nothing has happened.

    Raises:
        HeadwaterError: the pipeline is to be opened again.
    """
    failpoint.reach("swap.adopt.before")
    if pipeline.checkpointed == pipeline.epoch:
        _empty_epoch(pipeline)  # a checkpoint is never written over: a crash would leave neither
    pipeline.flow.tap = None
    nodes = build.finish()
    if build.upset:
        build.nodes = nodes
        return False
    pipeline.flow.become(build.choice.models, nodes, build.choice.checks)
    adopted()
    pipeline.swapping = tuple(nodes)
    failpoint.reach("swap.adopt.become")
    pipeline.checkpoint()
    failpoint.reach("swap.adopt.after")
    plan = pipeline.next_plan(())
    assert plan is not None
    pipeline.run(plan)
    pipeline.check_accounts()
    failpoint.reach("swap.done.before")
    return True


def _empty_epoch(pipeline: Pipeline) -> None:
    plan = pipeline.next_plan((), force=True)
    assert plan is not None
    pipeline.run(plan)
    pipeline.check_accounts()
