"""The page at ``/``: one file without anything from elsewhere, allowed to run its own script and no other."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

__all__ = ["PAGE", "PAGE_HEADERS"]

PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


def _policy(page: str) -> str:
    """Return a Content-Security-Policy that names the page's inline script and style by their hashes."""

    def hashes(tag: str) -> str:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.S)
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "connect-src 'self'; img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


PAGE_HEADERS = {"content-security-policy": _policy(PAGE), "x-content-type-options": "nosniff"}
