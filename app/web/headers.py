"""What the browser may do with the page: run our own files, speak to our own API, show pictures, and nothing else."""

from __future__ import annotations

from app.web.files import PageFile


def page_headers(file: PageFile) -> dict[str, str]:
    """Of every file of the page. It is asked for anew each time, and mostly answered 304: so it fits the API."""
    return {"Cache-Control": "no-cache", "ETag": file.etag, "Referrer-Policy": "no-referrer"}


def content_security_policy(pictures: str) -> str:
    """Of the pages themselves. `pictures`: other sources of pictures, such as the origin that presigned URLs are of.

    `blob:` are previews of masks, which are fetched with the API key, as an <img> cannot. Nothing may be inline, so
    that no category name, metadata or file name can ever run, and no other site may frame the page.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' blob: {pictures}",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def is_known(file: PageFile, if_none_match: str | None) -> bool:
    """Whether the client has these very bytes (RFC 9110, 13.1.2); proxies that compress make an ETag weak."""
    named = [name.strip().removeprefix("W/") for name in (if_none_match or "").split(",")]
    return file.etag in named or "*" in named
