"""The page as it is sent: what a browser may do with it, and that all of it is there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.main import create_app
from app.web.files import page_files
from app.web.headers import content_security_policy, is_known
from deploy.localstack import LocalStack
from tests.conftest import GuardedService, settings_of
from worker.storage import Storage

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "app" / "web" / "static"
SAMPLE = ROOT / "models" / "nano" / "sample_mask.png"
FILES = {path.name: path for path in sorted([*STATIC.iterdir(), SAMPLE])}
NAMES = list(FILES)
SWAGGER = {"swagger-ui-bundle.js", "swagger-ui.css"}
PAGES = {"index.html", "docs.html"}
TYPES = {".css": "text/css", ".js": "text/javascript", ".png": "image/png", ".svg": "image/svg+xml"}


class Reader(HTMLParser):
    """Every start tag with its attributes, and the text inside of script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"}:
            self.inline += data

    def addresses(self) -> Iterator[str]:
        for _tag, attributes in self.tags:
            yield from (value for name in ("src", "href") if (value := attributes.get(name)))


def test_policy_is_strict_and_names_where_pictures_come_from(client: httpx.Client) -> None:
    mask = client.post("/v1/masks", files={"file": SAMPLE.read_bytes()}).json()
    form = {"mask_id": (None, mask["id"]), "num_inference_steps": (None, "1")}
    made = client.post("/v1/generations?wait=60", files=form | {"filter": (None, '{"policy": "off"}')}).json()
    url = urlsplit(made["samples"][0]["image"]["url"])

    page = client.get("/")

    assert page.status_code == 200
    assert page.headers["content-security-policy"] == (
        f"default-src 'none'; script-src 'self'; style-src 'self'; "
        f"img-src 'self' blob: {url.scheme}://{url.netloc}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("endpoint", "public", "origin"),
    [
        ("http://storage:9000", None, "http://storage:9000"),
        ("http://storage:9000", "https://files.example", "https://files.example"),
        (None, None, "https://earthsynth.s3.amazonaws.com"),
    ],
)
def test_origin_is_that_of_the_settings(
    servers: LocalStack, endpoint: str | None, public: str | None, origin: str
) -> None:
    storage = Storage(settings_of(servers, s3_endpoint=endpoint, s3_public_endpoint=public))

    assert storage.presigned_origin() == origin
    assert storage.presign("x")[0].startswith(f"{origin}/")
    assert f"img-src 'self' blob: {origin};" in content_security_policy(origin)


def test_reference_runs_our_files_alone(client: httpx.Client) -> None:
    assert client.get("/docs").headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_is_inline_and_nothing_is_elsewhere(client: httpx.Client, path: str) -> None:
    page = Reader(client.get(path).text)

    assert page.inline.strip() == ""
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], (
            tag,
            attributes,
        )
    for address in page.addresses():
        if not address.startswith("#"):
            assert not urlsplit(address).netloc
            assert client.get(f"/{address}").status_code == 200, address


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PAGES])
def test_every_file_is_sent_and_kept_by_its_etag(client: httpx.Client, name: str) -> None:
    first = client.get(f"/page/{name}")
    again = client.get(f"/page/{name}", headers={"If-None-Match": first.headers["etag"]})
    changed = client.get(f"/page/{name}", headers={"If-None-Match": '"other"'})

    assert first.status_code == changed.status_code == 200
    assert first.content == FILES[name].read_bytes()
    assert first.headers["content-type"].partition(";")[0] == TYPES[Path(name).suffix]
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["x-content-type-options"] == "nosniff"
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])


@pytest.mark.parametrize("module", [name for name in NAMES if name.endswith(".js")])
def test_modules_import_what_is_there_and_write_no_markup(module: str) -> None:
    text = (STATIC / module).read_text()

    imported = re.findall(r'from "\./([^"]+)"', text)
    assert set(imported) <= set(NAMES)
    assert len(re.findall(r"^import ", text, re.MULTILINE)) == len(imported)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|import\(|https?://(?!www\.w3\.org/)",
        text,
    )


def test_style_sheet_loads_nothing() -> None:
    assert set(re.findall(r"url\(([^)]*)\)|(@import)", (STATIC / "page.css").read_text())) == {
        ('"#category-colours"', "")
    }


@pytest.mark.parametrize("name", [*sorted(PAGES), "..%2Ffiles.py", "%2e%2e/files.py", "none.js", ".hidden"])
def test_other_names_are_absent(client: httpx.Client, name: str) -> None:
    answer = client.get(f"/page/{name}")

    assert answer.status_code == 404
    assert answer.json()["code"] in {"file_not_found", "not_found"}


def test_no_key_is_needed_and_host_is_checked(guarded: GuardedService) -> None:
    with guarded.client() as nobody:
        assert nobody.get("/").status_code == 200
        assert nobody.get("/page/main.js").status_code == 200
        assert nobody.get("/v1/jobs").status_code == 401
        assert nobody.get("/", headers={"Host": "a b"}).status_code == 400


def test_without_keys_only_loopback_names_are_served(client: httpx.Client) -> None:
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 421


def test_the_page_is_no_operation() -> None:
    assert not [path for path in create_app().openapi()["paths"] if path in {"/", "/docs"} or "page" in path]


def test_weak_and_several_etags_count() -> None:
    file = page_files()["main.js"]

    assert is_known(file, f'"a", W/{file.etag}')
    assert is_known(file, "*")
    assert not is_known(file, None)


def test_files_are_in_the_distribution() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]

    assert patterns["app.web"] == ["static/*"]
    assert set(page_files()) == {*NAMES, *SWAGGER}
