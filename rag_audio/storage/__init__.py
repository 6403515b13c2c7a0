"""SQL database, migrations, files, locks, caches, the catalogue and the vector index."""
