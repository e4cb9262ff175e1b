"""The rows of `<source>_transactions` (`headwater.capture.audit_trail`) from what the stream of changes tells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headwater.capture.audit_trail import CONTEXT_PREFIX, transactions_batch
from headwater.capture.postgres.staging import Transactions
from headwater.capture.postgres.transactions import LogicalMessage
from headwater.change import ChangeBatch


class TransactionLog:
    """An `Observer` that makes a row of each transaction in which something of ours was done or said.

    Args:
        source: name of the source.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def __call__(self, transactions: Transactions, messages: Sequence[LogicalMessage]) -> Sequence[ChangeBatch]:
        ours = np.flatnonzero(transactions.ordinals)
        if not ours.size:
            return ()
        said = {each.position.commit: _text(each.content) for each in messages if _is_context(each)}
        commits = transactions.commits[ours]
        contexts = [said.get(int(commit)) for commit in commits] if said else [None] * ours.size
        ids = [str(xid) for xid in transactions.xids[ours].tolist()]
        return (transactions_batch(self._source, commits, ids, transactions.times_us[ours], contexts),)


def _is_context(message: LogicalMessage) -> bool:
    return message.transactional and message.prefix == CONTEXT_PREFIX


def _text(content: bytes) -> str:
    """What was written; bytes that are no text as PostgreSQL writes them in hex."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "\\x" + content.hex()
