"""Whether the cost of a change follows the change or the history: `headwater bench incremental`."""
