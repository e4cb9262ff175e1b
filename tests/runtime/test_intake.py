"""What an epoch reads from the log."""

from scripted_project import inserts

from headwater.log.partition import Partition
from headwater.runtime.intake import boundaries_after, take_in
from headwater.runtime.state_store import EpochPlan


def test_an_epoch_planned_before_a_source_first_spoke_can_be_run_again(tmp_path):
    plan = EpochPlan(1, {"shop": (0, 0)})
    with_data = Partition.open(tmp_path / "shop")
    try:
        with_data.append([inserts(1, 1)])
        (intake,) = take_in(plan, {"shop": with_data})
        assert (intake.batches, boundaries_after(plan, {"shop": with_data})) == ({}, {})
    finally:
        with_data.close()


def test_a_source_that_is_no_longer_part_of_the_project_is_passed_over(tmp_path):
    (intake,) = take_in(EpochPlan(1, {"gone": (0, 7)}), {})
    assert intake.batches == {} and intake.first and intake.last
