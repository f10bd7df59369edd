"""Chromium, and visits to the page during which nothing may go wrong unseen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Response, expect, sync_playwright

Visit = Callable[[str], AbstractContextManager[Page]]
_REPORTS_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => console.error("violation", event.violatedDirective));
"""
# Chromium says this of every refusal, which these tests provoke; those of the page's own files are counted below.
_USUAL = "Failed to load resource: "


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not path:
        pytest.fail("no Chromium was found: install it, or name it in CHROMIUM")
    expect.set_options(timeout=20_000)  # a busy machine draws late
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser) -> Visit:
    """Opens an address in a session of its own.

    Afterwards: no error was logged or thrown, no policy violated, no file of the page absent, and nothing asked of
    any host but the service and, for pictures, the storage that its policy names.
    """

    @contextmanager
    def visiting(url: str) -> Iterator[Page]:
        wrong: list[str] = []
        allowed = {urlsplit(url).netloc}

        def asked(request: Request) -> None:
            where = urlsplit(request.url)
            if where.scheme not in {"blob", "data"} and where.netloc not in allowed:
                wrong.append(f"asked {request.url}")

        def answered(response: Response) -> None:
            policy = response.headers.get("content-security-policy", "")
            for source in policy.partition("img-src ")[2].partition(";")[0].split():
                allowed.update({urlsplit(source).netloc} - {""})
            if response.status >= 400 and not urlsplit(response.url).path.startswith(("/v1/", "/readyz")):
                wrong.append(f"{response.status} {response.url}")

        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        context.add_init_script(_REPORTS_VIOLATIONS)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", asked)
        page.on("response", answered)
        page.on("pageerror", lambda error: wrong.append(f"thrown {error}"))
        page.on(
            "console",
            lambda said: (
                wrong.append(said.text)
                if said.type in {"error", "warning"} and not said.text.startswith(_USUAL)
                else None
            ),
        )
        page.goto(url)
        yield page
        assert wrong == []
        context.close()

    return visiting
