"""The identity read = landed + rejected + filtered + late + in flight."""

from hypothesis import given
from hypothesis import strategies as st

from headwater.quality.accounting import Account

counts = st.integers(0, 10**12)


@given(counts, counts, counts, counts, counts)
def test_it_holds_when_every_record_is_somewhere(landed, rejected, filtered, late, in_flight):
    account = Account(landed + rejected + filtered + late + in_flight, landed, rejected, filtered, late, in_flight)
    assert account.holds
    assert account.as_dict()["holds"] is True


@given(counts, st.integers(1, 1000))
def test_a_lost_or_doubled_record_breaks_it(landed, many):
    assert Account(read=landed + many, landed=landed).difference == many
    assert Account(read=landed, landed=landed + many).difference == -many
