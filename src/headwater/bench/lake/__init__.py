"""How fast a lake table takes changes and is read: `headwater bench lake`."""
