"""The operators, one file each; `headwater.engine.graph` says which node becomes which."""
