"""The tables of libraries, licenses and files, as the code sees them.

The migrations in :mod:`rag_audio.migrations` make them; :mod:`rag_audio.catalogue` writes them, and
:mod:`rag_audio.provenance.rights_audit` holds them against the log.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, MetaData, Table, Text

from rag_audio import contested

metadata = MetaData()

libraries = Table(
    "libraries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("root", Text, nullable=False),
    Column("salt", LargeBinary),
)
"""``salt``: 32 random bytes, so that the log can commit to the row without telling its root."""

licenses = Table(
    "licenses",
    metadata,
    Column("library", Text, ForeignKey("libraries.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("license", Text, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("library", Text, ForeignKey("libraries.id"), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("declared", Text, nullable=False),
    Column("space", Text, nullable=False),
    Column("stem_id", Text, nullable=False),
    Column("artist", Text, nullable=False),
    Column("stem", Text, nullable=False),
    Column("decision", Text, nullable=False, server_default=""),
    Index("files_by_stem", "stem_id"),
    Index("files_by_artist", "artist"),
)

contested.define(metadata)
withheld_files = metadata.tables["withheld_files"]
conflicts = metadata.tables["conflicts"]
