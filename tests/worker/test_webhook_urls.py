"""URLs that we are asked to call, row by row of hostile_inputs.md U; nothing here leaves this machine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import httpcore
import pytest

from models.errors import InvalidInput
from worker.deliveries import Fault
from worker.name_lookup import NameLookup, Resolve
from worker.settings import Settings
from worker.webhook_network import tls_context
from worker.webhook_rules import WebhookRules, check_registration, rules_of
from worker.webhook_sending import Courier, Message

PUBLIC = "93.184.216.34"
PUBLIC_6 = "2606:2800:220:1:248:1893:25c8:1946"
LONG = "https://hooks.example.com/"
TLS = tls_context()
MESSAGE = Message("msg_1", "{}", ["whsec_" + "A" * 32])

REFUSED: list[tuple[str, str]] = [
    ("U02", "http://hooks.example.com/"),
    ("U04", "https://127.0.0.1/"),
    ("U05", "https://127.1/"),
    ("U05", "https://127.0.1/"),
    ("U06", "https://2130706433/"),
    ("U07", "https://0x7f000001/"),
    ("U07", "https://0x7f.1/"),
    ("U08", "https://0177.0.0.1/"),
    ("U08", "https://017700000001/"),
    ("U09", "https://0/"),
    ("U09", "https://0.0.0.0/"),
    ("U12", "https://127.255.255.254/"),
    ("U13", "https://10.0.0.1/"),
    ("U13", "https://172.16.0.1/"),
    ("U13", "https://172.31.255.255/"),
    ("U13", "https://192.168.0.1/"),
    ("U15", "https://169.254.169.254/latest/meta-data/"),
    ("U16", "https://169.254.170.2/"),
    ("U16", "https://169.254.169.253/"),
    ("U17", "https://[fd00:ec2::254]/"),
    ("U18", "https://metadata.google.internal/"),
    ("U18", "https://metadata.goog/"),
    ("U19", "https://100.100.100.200/"),
    ("U19", "https://192.0.0.192/"),
    ("U22", "https://198.18.0.1/"),
    ("U22", "https://192.0.2.1/"),
    ("U22", "https://198.51.100.1/"),
    ("U22", "https://203.0.113.1/"),
    ("U23", "https://192.88.99.1/"),
    ("U24", "https://224.0.0.1/"),
    ("U24", "https://239.1.1.1/"),
    ("U25", "https://240.0.0.1/"),
    ("U25", "https://255.255.255.255/"),
    ("U26", "https://[::1]/"),
    ("U26", "https://[::]/"),
    ("U26", "https://[0:0:0:0:0:0:0:1]/"),
    ("U27", "https://[::ffff:127.0.0.1]/"),
    ("U27", "https://[::ffff:7f00:1]/"),
    ("U29", "https://[64:ff9b::7f00:1]/"),
    ("U29", "https://[64:ff9b:1::7f00:1]/"),
    ("U30", "https://[2002:7f00:1::]/"),
    ("U33", "https://[fe80::1]/"),
    ("U33", "https://[fe80::1%25eth0]/"),
    ("U34", "https://[fec0::1]/"),
    ("U36", "https://[100::1]/"),
    ("U36", "https://[2001:db8::1]/"),
    ("U36", "https://[3fff::1]/"),
    ("U36", "https://[5f00::1]/"),
    ("U47", "https://hooks.example.com@127.0.0.1/"),
    ("U49", "https://127.0.0.1\\@hooks.example.com/"),
    ("U50", "https://hooks.example.com\\@127.0.0.1/"),
    ("U50", "https:\\\\127.0.0.1\\"),
    ("U50", "https:/127.0.0.1"),
    ("U51", "https://127.0.0.1%2f@x/"),
    ("U51", "https://127.0.0.1%23@x/"),
    ("U51", "https://hooks.example.com%00/"),
    ("U51", "https://127.0.0.1%2f.example.com/"),
    ("U52", "https://127.0.0.1#@hooks.example.com/"),
    ("U52", "https://127.0.0.1?@hooks.example.com/"),
    ("U53", "https://①②⑦.⓪.⓪.①/"),
    ("U53", "https://127。0。0。1/"),
    ("U53", "https://\uff11\uff12\uff17.\uff10.\uff10.\uff11/"),
    ("U54", "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/"),
    ("U54", "https://local\u00adhost/"),
    ("U54", "https://localhost/"),
    ("U56", "https://[::1"),
    ("U56", "https://::1/"),
    ("U56", "https://[127.0.0.1]/"),
    ("U56", "https://[hooks.example.com]/"),
    ("U57", "https://"),
    ("U57", "https:///x"),
    ("U57", "//host/"),
    ("U57", "host/path"),
    ("U57", "?x"),
    ("U57", ""),
    ("U58", "file:///etc/passwd"),
    ("U58", "gopher://hooks.example.com/"),
    ("U58", "dict://hooks.example.com/"),
    ("U58", "ftp://hooks.example.com/"),
    ("U58", "ldap://hooks.example.com/"),
    ("U58", "jar:https://hooks.example.com/!/x"),
    ("U58", "data:text/plain,x"),
    ("U58", "javascript:alert(1)"),
    ("U58", "unix:///run/x.sock"),
    ("U60", "http+unix://%2Frun%2Fx.sock/"),
    ("U60", " https://hooks.example.com/"),
    ("U60", "https://hooks.example.com/ "),
    ("U60", "https://hooks.exam\tple.com/"),
    ("U60", "https://hooks.example.com/\n"),
    ("U61", "https://hooks.example.com/\r\nX: 1"),
    ("U62", LONG + "a" * (2049 - len(LONG))),
    ("U62", LONG + "a" * (100_000 - len(LONG))),
    ("U64", "https://api.earthsynth.example/v1/generations"),
    ("U64", "https://objects.example.net/earthsynth/local/jobs/x?X-Amz-Signature=1"),
    ("U64", "https://earthsynth.objects.example.net/x"),
    ("U64", "https://api.earthsynth.example/v1/webhooks/whk_00000000000000000000000000"),
    ("U64", "https://synth.example.net/v1/jobs"),
    ("U64", "https://a.inside.example.net/"),
    ("port", "https://hooks.example.com:22/"),
    ("port", "https://hooks.example.com:0/"),
    ("port", "https://hooks.example.com:65536/"),
    ("fragment", "https://hooks.example.com/#x"),
    ("quote", 'https://hooks.example.com/"'),
    ("percent", "https://hooks.example.com/%zz"),
    ("label", "https://-hooks.example.com/"),
    ("label", "https://hooks..example.com/"),
    ("label", "https://hooks.example.com./"),
]
CREDENTIALS = {
    "U46",
    "U47",
    "U51",
}  # what has an @ in its authority is told apart: it may have leaked a password

NAMES: list[tuple[str, list[str]]] = [
    ("U37", ["127.0.0.1"]),
    ("U38", [PUBLIC, "10.0.0.1"]),
    ("U39", [PUBLIC, "::1"]),
    ("U43", ["192.168.1.1"]),  # a CNAME chain, or nip.io: the final address decides
    ("U43", ["::ffff:10.0.0.1"]),
    ("U43", ["fe80::1%eth0"]),
]


def rules(**changes: object) -> WebhookRules:
    """The rules of a deployment with public names of its own, as its settings make them."""
    config = Settings(
        webhook_own_hosts="api.earthsynth.example",
        allowed_hosts="synth.example.net,*.inside.example.net",
        s3_public_endpoint="https://objects.example.net",
        **changes,
    )  # type: ignore[arg-type]
    return rules_of(config)


def names(*addresses: str) -> NameLookup:
    """A resolver that knows one answer."""
    return NameLookup(lambda host: list(addresses))


class Dialler:
    """Notes where a connection would go to, and makes none."""

    def __init__(self) -> None:
        self.dialled: list[tuple[str, int]] = []

    async def __call__(self, address: str, port: int) -> httpcore.AsyncNetworkStream:
        self.dialled.append((address, port))
        raise httpcore.ConnectError("not here")


def courier(lookup: NameLookup, dialler: Dialler, **changes: object) -> Courier:
    return Courier(rules(**changes), lookup, TLS, seconds=15, dial=dialler)


def refusal(url: str, lookup: NameLookup, **changes: object) -> InvalidInput:
    with pytest.raises(InvalidInput) as found:
        check_registration(url, rules(**changes), lookup)
    assert found.value.errors, "it says where"
    return found.value


@pytest.mark.parametrize(("row", "url"), REFUSED, ids=[f"{row}-{url[:50]!r}" for row, url in REFUSED])
def test_u_refused_at_registration_and_again_when_called(row: str, url: str) -> None:
    error = refusal(url, names(PUBLIC))
    if "@" in url and row in CREDENTIALS:
        assert error.code == "credentials_in_url"
    else:
        assert error.code == "url_not_allowed"
    if row == "U49":
        assert "backslash" in error.message
    dialler = Dialler()
    answer = asyncio.run(courier(names(PUBLIC), dialler).send(url, MESSAGE))
    assert answer.attempt.error is Fault.URL_NOT_ALLOWED
    assert dialler.dialled == []


@pytest.mark.parametrize(("row", "found"), NAMES, ids=[f"{row}-{'+'.join(found)}" for row, found in NAMES])
def test_u_names_are_refused_by_any_of_their_addresses(row: str, found: list[str]) -> None:
    assert refusal("https://hooks.example.com/", names(*found)).code == "url_not_allowed"
    dialler = Dialler()
    answer = asyncio.run(courier(names(*found), dialler).send("https://hooks.example.com/", MESSAGE))
    assert answer.attempt.error is Fault.URL_NOT_ALLOWED
    assert dialler.dialled == []


def test_u46_credentials_have_a_code_of_their_own() -> None:
    assert refusal("https://user:pass@hooks.example.com/", names(PUBLIC)).code == "credentials_in_url"
    assert "pass" not in refusal("https://user:pass@hooks.example.com/", names(PUBLIC)).message.split()


ALLOWED: list[tuple[str, str, str]] = [
    ("U01", "https://hooks.example.com/a?b=1", "https://hooks.example.com/a?b=1"),
    ("U14", "https://172.32.0.1/", "https://172.32.0.1/"),
    ("U60", "HTTPS://Hooks.Example.com", "https://hooks.example.com/"),
    ("U61", "https://hooks.example.com/%0d%0aX:%201", "https://hooks.example.com/%0d%0aX:%201"),
    (
        "U62",
        LONG + "a" * (2048 - len(LONG)),
        LONG + "a" * (2048 - len(LONG)),
    ),
    ("plain", "https://hooks.example.com:443?x", "https://hooks.example.com/?x"),
    ("plain", f"https://[{PUBLIC_6.upper()}]/", f"https://[{PUBLIC_6}]/"),
    ("idn", "https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
    ("mapped", "https://[::ffff:172.32.0.1]/", "https://[::ffff:ac20:1]/"),
]


@pytest.mark.parametrize(
    ("row", "url", "kept"), ALLOWED, ids=[f"{row}-{url[:50]!r}" for row, url, _ in ALLOWED]
)
def test_u_allowed_and_kept_in_one_form(row: str, url: str, kept: str) -> None:
    target = check_registration(url, rules(), names(PUBLIC, PUBLIC_6))
    assert target.url == kept
    assert check_registration(kept, rules(), names(PUBLIC)) == target


@pytest.mark.parametrize(
    ("url", "lookup", "dialled"),
    [
        ("https://hooks.example.com/", names(PUBLIC), [(PUBLIC, 443)]),
        ("https://hooks.example.com/", names(PUBLIC_6, PUBLIC), [(PUBLIC_6, 443), (PUBLIC, 443)]),
        ("https://172.32.0.1/", names("127.0.0.1"), [("172.32.0.1", 443)]),
        ("https://[::ffff:172.32.0.1]/", names("127.0.0.1"), [("172.32.0.1", 443)]),
    ],
)
def test_u01_connects_to_exactly_the_checked_addresses(
    url: str, lookup: NameLookup, dialled: list[tuple[str, int]]
) -> None:
    dialler = Dialler()
    answer = asyncio.run(courier(lookup, dialler).send(url, MESSAGE))
    assert dialler.dialled == dialled
    assert answer.attempt.error is Fault.CONNECT


def test_u41_a_name_is_resolved_once_an_attempt_and_pinned() -> None:
    asked: list[str] = []

    def flipping(host: str) -> Sequence[str]:
        asked.append(host)
        return [PUBLIC if len(asked) % 2 else "127.0.0.1"]

    dialler = Dialler()
    sending = courier(NameLookup(flipping), dialler)
    first = asyncio.run(sending.send("https://hooks.example.com/", MESSAGE))
    assert (asked, dialler.dialled) == (["hooks.example.com"], [(PUBLIC, 443)])
    second = asyncio.run(sending.send("https://hooks.example.com/", MESSAGE))
    assert (len(asked), dialler.dialled) == (2, [(PUBLIC, 443)])
    assert [first.attempt.error, second.attempt.error] == [Fault.CONNECT, Fault.URL_NOT_ALLOWED]


def absent(host: str) -> Sequence[str]:
    raise OSError("NXDOMAIN")


@pytest.mark.parametrize("resolve", [absent, lambda host: []], ids=["NXDOMAIN", "no address"])
def test_u42_a_name_that_does_not_resolve(resolve: Resolve) -> None:
    assert refusal("https://hooks.example.com/", NameLookup(resolve)).code == "url_not_allowed"
    answer = asyncio.run(courier(NameLookup(resolve), Dialler()).send("https://hooks.example.com/", MESSAGE))
    assert answer.attempt.error is Fault.DNS, "which is tried again"


def test_u42_a_resolver_that_hangs_is_given_a_bounded_time() -> None:
    over = threading.Event()
    hanging: Callable[[str], Sequence[str]] = lambda host: [PUBLIC] if over.wait(30) else []  # noqa: E731
    lookup = NameLookup(hanging, seconds=0.05)
    assert refusal("https://hooks.example.com/", lookup).code == "url_not_allowed"
    answer = asyncio.run(courier(lookup, Dialler()).send("https://hooks.example.com/", MESSAGE))
    assert answer.attempt.error is Fault.DNS
    over.set()
    assert NameLookup()._seconds == 5, "by default"


def test_u02_http_and_other_ports_by_settings() -> None:
    for url in ("http://hooks.example.com/", "https://hooks.example.com:8443/"):
        assert refusal(url, names(PUBLIC)).code == "url_not_allowed"
        assert check_registration(
            url, rules(webhook_allow_http=True, webhook_ports="80,443,8443"), names(PUBLIC)
        )


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1/", "https://10.1.2.3/", "https://[::1]/", "https://[fd12::1]/", "https://hooks/"],
)
def test_private_networks_by_a_setting(url: str) -> None:
    assert refusal(url, names("192.168.0.9")).code == "url_not_allowed"
    assert check_registration(url, rules(webhook_allow_private=True), names("192.168.0.9"))


@pytest.mark.parametrize(
    "url",
    [
        "https://169.254.169.254/",
        "https://100.100.100.200/",
        "https://[fd00:ec2::254]/",
        "https://[fe80::1]/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://168.63.129.16/",
        "https://metadata.google.internal/",
    ],
)
def test_no_setting_allows_metadata_services(url: str) -> None:
    assert refusal(url, names(PUBLIC), webhook_allow_private=True).code == "url_not_allowed"


def test_behind_an_egress_proxy_literal_addresses_and_names_are_still_checked() -> None:
    proxied = {"webhook_proxy": "http://proxy.internal:3128"}
    for url in ("https://127.0.0.1/", "https://metadata.google.internal/", "https://x.internal/"):
        assert refusal(url, names(PUBLIC), **proxied).code == "url_not_allowed"
    unasked = NameLookup(absent)  # the proxy resolves; here nobody can
    assert check_registration("https://hooks.example.com/", rules(**proxied), unasked)


def test_u59_u76_u77_u78_there_are_no_imports_by_url() -> None:
    """api.md goes before the table: imports name a prefix in the tenant's own part of the bucket, never a URL."""
    from worker.mask_sets import MaskSetRequest
    from worker.training_sets import TrainingSetRequest

    for model in (MaskSetRequest, TrainingSetRequest):
        assert not {"url", "source", "href"} & model.model_fields.keys()
        assert "prefix" in model.model_fields
