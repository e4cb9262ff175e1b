"""What the API answers, one file per noun: models from which its OpenAPI document is made. They are a promise: what is
there keeps its name, type and unit."""
