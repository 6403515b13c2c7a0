"""RFC 3161 timestamps, against an authority that ``openssl ts`` plays on this machine."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from rag_audio.domain.signing import CredentialState
from rag_audio.provenance.credentials.reading import read_credentials
from tests.provenance.material import Authority, sign_briefly, write

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="openssl plays the authority")

_CONFIG = """
[tsa]
default_tsa = ours
[ours]
serial = {folder}/serial
signer_cert = {chain}
signer_key = {key}
certs = {chain}
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
"""


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Address of a timestamp authority, and PEM of its root."""
    folder = tmp_path / "tsa"
    issuer = Authority("Timestamps")
    purpose = ExtendedKeyUsageOID.TIME_STAMPING
    chain, key = issuer.signer(folder, purpose=purpose, critical=True)
    (folder / "serial").write_text("01")
    (folder / "config").write_text(_CONFIG.format(folder=folder, chain=chain, key=key))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            names = {"-queryfile": "query", "-config": "config", "-out": "reply"}
            options = [part for name, file in names.items() for part in (name, str(folder / file))]
            subprocess.run(
                [str(OPENSSL), "ts", "-reply", *options], check=True, capture_output=True
            )
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write((folder / "reply").read_bytes())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", chain.read_text()
    server.shutdown()
    server.server_close()


def test_a_timestamp_keeps_a_signature_trusted_after_its_certificate_expires(
    tmp_path: Path, authority: tuple[str, str]
) -> None:
    url, its_root = authority
    file = write(tmp_path / "take.wav")
    brief, signature = sign_briefly(file, tmp_path / "own", url)
    record = signature.record
    assert record["timestamp"].startswith("20")
    assert url not in repr(dict(record))

    found = read_credentials(file, brief.anchors + its_root)
    assert found is not None
    assert found.state is CredentialState.TRUSTED
    assert (found.signed_at, found.time_trusted) == (record["timestamp"], True)
    unknown = read_credentials(file, brief.anchors)  # the authority is not known
    assert unknown is not None
    assert unknown.state is CredentialState.UNTRUSTED
    assert any("expired" in error for error in unknown.errors)
    assert not unknown.time_trusted
