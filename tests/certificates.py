"""Certificates for receivers, made by openssl: a CA of the tests' own, and leaves that are wrong in one way each."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

NAME = "hooks.example.com"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


@dataclass(frozen=True)
class Authority:
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def leaf(
        self, label: str, *, name: str = NAME, days: int = 2, digest: str = "sha256", own: bool = False
    ) -> ssl.SSLContext:
        """A server's context. `days` below 0: it has expired. `own`: signed by itself."""
        key, request, certificate, more = (
            self.folder / f"{label}.{suffix}" for suffix in ("key", "csr", "pem", "ext")
        )
        more.write_text(f"subjectAltName=DNS:{name}\n")
        _openssl("req", *_NEW_KEY, "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        ours = ["-CA", self.file, "-CAkey", self.folder / "ca.key", "-CAcreateserial"]
        signer = ["-signkey", key] if own else ours
        span = ["-days", str(days), f"-{digest}"]
        _openssl("x509", "-req", "-in", request, "-out", certificate, "-extfile", more, *span, *signer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # so that a weak one can be served at all
        context.load_cert_chain(certificate, key)
        return context


def authority(folder: Path) -> Authority:
    made = Authority(folder)
    _openssl(
        *("req", "-x509", *_NEW_KEY, "-nodes", "-days", "2", "-subj", "/CN=tests"),
        *("-keyout", folder / "ca.key", "-out", made.file),
    )
    return made


def _openssl(*words: str | Path) -> None:
    subprocess.run([shutil.which("openssl") or "openssl", *map(str, words)], check=True, capture_output=True)
