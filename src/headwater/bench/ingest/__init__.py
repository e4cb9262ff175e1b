"""How fast messages, requests and lines are taken in and decoded to Arrow, beside others on the same input."""
