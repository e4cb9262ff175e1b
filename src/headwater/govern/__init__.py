"""What is known about data: where it comes from, and who is told."""
