"""Delta Lake tables: a commit file per epoch, deletion vectors, checkpoints by deltalake."""
