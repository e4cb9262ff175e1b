"""The schema registry: every stream's schemas and every subject's, as Confluent's registry serves them."""
