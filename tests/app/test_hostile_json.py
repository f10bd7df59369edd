"""Odd and hostile JSON bodies, each with the answer it must get; ids are those of the catalogue of hostile inputs.

Where the catalogue and the contract name different bounds the contract's are tested: prompt ≤ 500 characters,
num_images ≤ 16, steps ≤ 100, guidance 1 to 20.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.app.hostile import BASE64, Guest, guest_of
from tests.conftest import GuardedService


@pytest.fixture(scope="module")
def guest(guarded: GuardedService) -> Iterator[Guest]:
    with guest_of(guarded, "hostile-json") as found:
        yield found


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("J01", {}),
    ("J17-emoji", {"prompt": "a road 🛣️ in the rain"}),
    ("J17-combining", {"prompt": "cafe\u0301 a\u0308\u0323"}),
    ("J17-rtl", {"prompt": "طريق \u202eabc"}),
    ("J18-500", {"prompt": "x" * 500}),  # 2,000 in the catalogue
    ("J19", {"prompt": "\U0001d54f" * 500}),  # 500 code points, 1,000 UTF-16 units
    ("J20-spaces", {"prompt": "   "}),  # plain text like any other
    ("J21-braces", {"prompt": "{0} {x!r} %s %n {{7*7}}"}),
    ("J21-jndi", {"prompt": "${jndi:ldap://127.0.0.1/a}"}),
    ("J21-sql", {"prompt": "'; DROP TABLE jobs;--"}),
    ("J21-shell", {"prompt": "$(id) `id` | rm -rf / \\r\\nFLUSHALL"}),
    ("J28-0", {"seed": 0}),
    ("J28-top", {"seed": 2**32 - 1}),
    ("J32-minus-zero", {"controlnet_conditioning_scale": -0.0}),
    ("J33-1", {"num_inference_steps": 1}),
    ("J33-100", {"num_inference_steps": 100}),  # 150 in the catalogue
    ("J34-1", {"guidance_scale": 1}),
    ("J34-20", {"guidance_scale": 20}),  # 30 in the catalogue
    ("J36-1", {"num_images": 1}),
    ("J36-16", {"num_images": 16}),  # 64 in the catalogue
]


OWN: list[tuple[str, dict[str, Any]]] = [
    ("J60", {"metadata": {f"k{n}": "v" * 500 for n in range(16)}}),  # 50 keys in the catalogue
    ("J60-odd", {"metadata": {"__proto__": "<script>", "=cmd()": "' OR 1=1--"}}),
    ("I64", {"custom_id": "x" * 128}),  # 200 in the catalogue
    ("I64-emoji", {"custom_id": "🛣️ ../x"}),
    ("I64-id", {"custom_id": "job_" + "0" * 26}),
]


@pytest.mark.parametrize("own", [pytest.param(made, id=row) for row, made in OWN])
def test_own_words_come_back_as_they_were(guest: Guest, own: dict[str, Any]) -> None:
    for _ in range(2):  # they need not be unique
        answer = guest.post(json=guest.body(**own))
        assert answer.status_code == 202, answer.text
        assert {name: answer.json()[name] for name in own} == own


def test_the_same_body_written_otherwise_is_the_same_request(guest: Guest) -> None:
    """J69, H27, H29."""
    body = guest.body(seed=7)
    texts = [json.dumps(body), json.dumps(dict(reversed(body.items())), indent=4)]
    kind = {"content-type": "application/json"}
    made = [guest.post(content=text, headers=kind | {"idempotency-key": "j69"}) for text in texts]
    assert made[0].json()["id"] == made[1].json()["id"]
    assert made[1].headers["idempotent-replayed"] == "true"
    quoted = guest.post(content=texts[0], headers=kind | {"idempotency-key": '"j69"'})
    assert quoted.json()["id"] == made[0].json()["id"]
    for path, other in (("/v1/generations", guest.body(seed=8)), ("/v1/masks", {"file": BASE64})):
        answer = guest.post(path, json=other, headers={"idempotency-key": "j69"})
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused"), path


@pytest.mark.parametrize("changes", [pytest.param(made, id=row) for row, made in ACCEPTED])
def test_accepted(guest: Guest, changes: dict[str, Any]) -> None:
    answer = guest.post(json=guest.body(**changes))
    assert answer.status_code == 202, answer.text
    asked = answer.json()["request"]
    assert {name: asked[name] for name in changes} == changes, "stored unchanged"


def test_a_number_too_small_to_tell_from_zero_is_zero(guest: Guest) -> None:
    """J32."""
    text = json.dumps(guest.body())[:-1] + ', "controlnet_conditioning_scale": 1e-400}'
    answer = guest.post(content=text, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["request"]["controlnet_conditioning_scale"]) == (202, 0)


# field of a good body → JSON text in its place
FIELDS: list[tuple[str, str, str, str]] = [
    ("J13-seed", "seed", '"\\ud800"', "invalid_text"),
    ("J13-filter", "filter", '"\\udfff"', "invalid_text"),
    ("J14-high", "prompt", '"a \\ud800 b"', "invalid_text"),
    ("J14-low", "prompt", '"\\udc00"', "invalid_text"),
    ("J14-swapped", "prompt", '"\\ude00\\ud83d"', "invalid_text"),
    ("J15", "prompt", '"a\\u0000b"', "invalid_text"),
    ("J16-escape", "prompt", '"\\u001b[31mred"', "invalid_text"),
    ("J16-newline", "prompt", '"a\\nb"', "invalid_text"),
    ("J16-c1", "prompt", '"a\\u0085b"', "invalid_text"),
    ("J16-negative", "negative_prompt", '"a\\rb"', "invalid_text"),
    ("J18-501", "prompt", json.dumps("x" * 501), "invalid_request"),
    ("J19-501", "prompt", json.dumps("\U0001d54f" * 501), "invalid_request"),
    ("J20-empty", "prompt", '""', "invalid_request"),
    ("J24-case", "Prompt", '"x"', "unknown_field"),
    ("J25-tenant", "tenant", '"B"', "unknown_field"),
    ("J25-admin", "is_admin", "true", "unknown_field"),
    ("J26-proto", "__proto__", '{"seed": 1}', "unknown_field"),
    ("J26-constructor", "constructor", "{}", "unknown_field"),
    ("J26-class", "__class__", '"os.system"', "unknown_field"),
    ("J26-config", "model_config", "{}", "unknown_field"),
    ("J28-minus", "seed", "-1", "out_of_range"),
    ("J28-2**32", "seed", str(2**32), "out_of_range"),
    ("J28-2**63", "seed", str(2**63), "out_of_range"),
    ("J28-2**64", "seed", str(2**64), "out_of_range"),
    ("J28-10**400", "seed", str(10**400), "out_of_range"),
    ("J29-5000", "seed", "1" * 5000, "out_of_range"),
    ("J29-4000", "seed", "1" * 4000, "out_of_range"),
    ("J29-float", "guidance_scale", "1" * 5000, "out_of_range"),
    ("J30-nan", "guidance_scale", "NaN", "out_of_range"),
    ("J30-infinity", "guidance_scale", "Infinity", "out_of_range"),
    ("J30-minus-infinity", "guidance_scale", "-Infinity", "out_of_range"),
    ("J31", "seed", "Infinity", "invalid_request"),
    ("J32-1e400", "guidance_scale", "1e400", "out_of_range"),
    ("J32-1e308", "guidance_scale", "1e308", "out_of_range"),
    ("J33-0", "num_inference_steps", "0", "out_of_range"),
    ("J33-minus", "num_inference_steps", "-1", "out_of_range"),
    ("J33-101", "num_inference_steps", "101", "out_of_range"),  # 151 in the catalogue
    ("J33-150", "num_inference_steps", "150", "out_of_range"),  # accepted in the catalogue
    ("J33-10**9", "num_inference_steps", "1000000000", "out_of_range"),
    ("J33-text", "num_inference_steps", '"7"', "invalid_request"),
    ("J33-whole", "num_inference_steps", "7.0", "invalid_request"),
    ("J33-true", "num_inference_steps", "true", "invalid_request"),
    ("J34-0", "guidance_scale", "0", "out_of_range"),
    ("J34-20.1", "guidance_scale", "20.1", "out_of_range"),  # 30.1 in the catalogue
    ("J34-text", "guidance_scale", '"7"', "invalid_request"),
    ("J35-1023", "width", "1023", "unsupported_size"),
    ("J35-0", "width", "0", "out_of_range"),
    ("J35-minus", "height", "-1", "out_of_range"),
    ("J35-8192", "height", "8192", "unsupported_size"),
    ("J36-0", "num_images", "0", "out_of_range"),
    ("J36-17", "num_images", "17", "out_of_range"),  # 65 in the catalogue
    ("J36-64", "num_images", "64", "out_of_range"),  # accepted in the catalogue
    ("J36-10**6", "num_images", "1000000", "out_of_range"),
    # Categories are the service's own list: a request names some of them, and defines none.
    ("J38-1000", "categories", json.dumps(["x" * 1000]), "unknown_category"),
    ("J38-empty", "categories", '[""]', "unknown_category"),
    ("J39", "categories", json.dumps(["road"] * 201), "invalid_request"),
    ("J41-script", "categories", '["<script>"]', "unknown_category"),
    ("J41-formula", "categories", '["=cmd()"]', "unknown_category"),
    ("J41-newline", "categories", '["a\\nb"]', "invalid_text"),
    ("J61-unknown", "model", '"sd15"', "unknown_model"),
    ("J61-case", "model", '"NANO"', "unknown_model"),
    ("J61-space", "model", '"nano "', "unknown_model"),
    ("J61-path", "model", '"../x"', "unknown_model"),
    ("J61-300", "model", json.dumps("x" * 300), "invalid_request"),
    ("J54-filter", "filter", "[1, 2]", "invalid_request"),
    ("J60-17", "metadata", json.dumps({f"k{n}": "v" for n in range(17)}), "invalid_request"),
    ("J60-nested", "metadata", '{"a": {"b": "c"}}', "invalid_request"),
    ("J60-number", "metadata", '{"a": 1}', "invalid_request"),
    ("J60-64kB", "metadata", json.dumps({"a": "v" * 65_536}), "invalid_request"),
    ("J60-long-key", "metadata", json.dumps({"k" * 1000: "v"}), "invalid_request"),
    ("J60-line", "metadata", '{"a": "b\\u001b"}', "invalid_text"),
    ("I64-long", "custom_id", json.dumps("x" * 129), "invalid_request"),
    ("I64-empty", "custom_id", '""', "invalid_request"),
    ("I64-newline", "custom_id", '"a\\nb"', "invalid_text"),
    ("J54-categories", "categories", '{"0": "road"}', "invalid_request"),
]


@pytest.mark.parametrize(("name", "text", "code"), [pytest.param(*made, id=row) for row, *made in FIELDS])
def test_a_field_is_refused(guest: Guest, name: str, text: str, code: str) -> None:
    good = {key: value for key, value in guest.body().items() if key != name}
    body = json.dumps(good)[:-1] + f', "{name}": {text}}}'
    answer = guest.post(content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert len(answer.content) < 2_000, "the input is not echoed"


def test_a_category_twice_is_one(guest: Guest) -> None:
    """J38: names are compared without case."""
    answer = guest.post(json=guest.body(categories=["road", "ROAD"]))
    assert (answer.status_code, answer.json()["request"]["categories"]) == (202, ["road"])


GOOD = b'{"mask_id": "msk_"}'
BODIES: list[tuple[str, bytes, int, str]] = [
    ("J02", b"", 422, "missing_body"),
    ("J04-blank", b" \n\t " * 1000, 400, "malformed_json"),
    ("J05", b'{"mask_id": ', 400, "malformed_json"),
    ("J05-string", b'{"mask_id": "msk', 400, "malformed_json"),
    ("J05-word", b'{"mask_id": tru', 400, "malformed_json"),
    ("J06-comma", b'{"mask_id": "x",}', 400, "malformed_json"),
    ("J06-comment", b'{"mask_id": "x"} // mine', 400, "malformed_json"),
    ("J06-block-comment", b'{/* mine */"mask_id": "x"}', 400, "malformed_json"),
    ("J06-quotes", b"{'mask_id': 'x'}", 400, "malformed_json"),
    ("J06-zero", b'{"seed": 01}', 400, "malformed_json"),
    ("J06-plus", b'{"seed": +1}', 400, "malformed_json"),
    ("J06-control", b'{"prompt": "a\x01b"}', 400, "malformed_json"),
    ("J07", GOOD + GOOD, 400, "malformed_json"),
    ("J07-nul", GOOD + b"\0", 400, "malformed_json"),
    ("J08-arrays", b"[" * 100_000, 400, "malformed_json"),
    ("J08-objects", b'{"a":' * 100_000, 400, "malformed_json"),
    ("J08-closed", b'{"filter": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400, "malformed_json"),
    ("J11-utf-16", GOOD.decode().encode("utf-16"), 400, "malformed_json"),
    ("J11-utf-16-le", GOOD.decode().encode("utf-16-le"), 400, "malformed_json"),
    ("J11-utf-32", GOOD.decode().encode("utf-32"), 400, "malformed_json"),
    ("J11-latin-1", '{"prompt": "é"}'.encode("latin-1"), 400, "malformed_json"),
    ("J11-bom", b"\xef\xbb\xbf" + GOOD, 400, "malformed_json"),  # RFC 8259, 8.1: must not be added
    ("J11-cesu", b'{"prompt": "\xed\xa0\x80"}', 400, "malformed_json"),
    ("J13-name", b'{"\\ud800": 1}', 422, "invalid_text"),
    ("J54-array", b"[1, 2]", 422, "invalid_request"),
    ("J54-text", b'"mask_id"', 422, "invalid_request"),
    ("J54-null", b"null", 422, "invalid_request"),
]


@pytest.mark.parametrize(("body", "status", "code"), [pytest.param(*made, id=row) for row, *made in BODIES])
def test_a_body_is_refused(guest: Guest, body: bytes, status: int, code: str) -> None:
    answer = guest.post(content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_name_twice_in_one_object_is_refused(guest: Guest) -> None:
    """RFC 7493: readers would take one or the other."""
    twice = json.dumps(guest.body(seed=1))[:-1] + ', "seed": 2}'
    within = f'{{"mask_id": "{guest.mask_id}", "filter": {{"policy": "off", "policy": "strict"}}}}'
    for text, name in ((twice, "seed"), (within, "policy")):
        answer = guest.post(content=text, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
        assert f'"{name}"' in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (b'{"seed": 1, "prompt": x}', 22),
        ('{"prompt": "é", x}'.encode(), 17),  # é is two bytes
        (b'{\n"seed": 1,\n"prompt":\nx}', 23),
        (b'{"seed": 1', 10),
    ],
)
def test_malformed_json_is_said_with_its_place(guest: Guest, body: bytes, offset: int) -> None:
    """J05: the first byte that cannot stand there, counted from 0."""
    detail = guest.post(content=body, headers={"content-type": "application/json"}).json()["detail"]
    assert detail.endswith(f"at byte {offset}."), detail


TYPES: list[tuple[str, str | None]] = [
    ("J70-text", "text/plain"),
    ("J70-form", "application/x-www-form-urlencoded"),
    ("J70-xml", "application/xml"),
    ("J70-none", None),
    ("J70-empty", ""),
    ("J70-json-like", "application/vnd.api+json"),
    ("J70-two", "application/json, text/plain"),
    ("J11-utf-16", "application/json; charset=utf-16"),
    ("J11-unknown", "application/json; charset=x"),
]


@pytest.mark.parametrize("kind", [pytest.param(made, id=row) for row, made in TYPES])
@pytest.mark.parametrize(
    "path", ["/v1/generations", "/v1/datasets", "/v1/masks", "/v1/mask-sets", "/v1/trainings"]
)
def test_a_type_is_refused(guest: Guest, path: str, kind: str | None) -> None:
    answer = guest.post(path, content=GOOD, headers={} if kind is None else {"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type"), answer.text


@pytest.mark.parametrize(
    "kind", ["application/JSON", "application/json;charset=UTF-8", 'application/json; charset="utf-8"']
)
def test_a_type_is_accepted(guest: Guest, kind: str) -> None:
    """H33."""
    answer = guest.post(content=json.dumps(guest.body()), headers={"content-type": kind})
    assert answer.status_code == 202, answer.text


MASKS: list[tuple[str, dict[str, Any], str]] = [
    ("J37", {"label_map": {"1": "road", "4": "road"}}, "unknown_label"),  # 8 is in the mask too
    ("J38-empty", {"label_map": {"1": ""}}, "unknown_category"),
    ("J38-long", {"label_map": {"1": "x" * 1000}}, "invalid_request"),
    ("J39", {"label_map": {str(number): 1 for number in range(1001)}}, "invalid_request"),
    ("J40-float", {"label_map": {"1": 1.0}}, "invalid_request"),
    ("J40-minus", {"label_map": {"1": -1}}, "unknown_category"),
    ("J40-256", {"label_map": {"1": 256}}, "unknown_category"),
    ("J40-name", {"label_map": {"-1": "road"}}, "invalid_label_map"),
    ("J41", {"label_map": {"1": "<script>"}}, "unknown_category"),
    ("J56-alphabet", {"file": "!" * 8}, "invalid_base64"),
    ("J56-padding", {"file": BASE64.rstrip("=") + "A"}, "invalid_base64"),
    ("J56-url-safe", {"file": "-_" + BASE64[2:]}, "invalid_base64"),
    ("J56-data-url", {"file": f"data:image/png;base64,{BASE64}"}, "invalid_base64"),
    ("J56-newlines", {"file": BASE64[:76] + "\n" + BASE64[76:]}, "invalid_base64"),
]


@pytest.mark.parametrize(("changes", "code"), [pytest.param(*made, id=row) for row, *made in MASKS])
def test_a_mask_is_refused(guest: Guest, changes: dict[str, Any], code: str) -> None:
    answer = guest.post("/v1/masks", json={"file": BASE64, "encoding": "class_id"} | changes)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


TRAININGS: list[tuple[str, str, str, str]] = [
    ("J64-rate-0", "learning_rate", "0", "out_of_range"),
    ("J64-rate-minus", "learning_rate", "-1", "out_of_range"),
    ("J64-rate-1e3", "learning_rate", "1e3", "out_of_range"),
    ("J64-rate-nan", "learning_rate", "NaN", "out_of_range"),
    ("J64-batch-0", "batch_size", "0", "out_of_range"),
    ("J64-steps", "steps", "1000000000", "out_of_range"),  # epochs in the catalogue
]


@pytest.mark.parametrize(("name", "text", "code"), [pytest.param(*made, id=row) for row, *made in TRAININGS])
def test_a_training_is_refused(guest: Guest, name: str, text: str, code: str) -> None:
    body = f'{{"training_set_id": "tset_{"0" * 64}", "name": "x", "{name}": {text}}}'
    answer = guest.post("/v1/trainings", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert answer.json()["errors"][0]["pointer"] == f"/{name}"
    assert any(letter.isdigit() for letter in answer.json()["detail"]) or text == "NaN", "the bound is said"


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        (7, 422, "invalid_request"),
        ("msk_" + "0" * 64, 404, "mask_not_found"),  # as in api.md, whose absent and foreign ids answer 404
        ("x", 404, "mask_not_found"),
    ],
)
def test_one_wrong_item_among_many_is_named(guest: Guest, wrong: Any, status: int, code: str) -> None:
    """J68: of 200, the 137th; nothing is started."""
    before = guest.client.get("/v1/jobs").json()["items"]
    ids: list[Any] = [guest.mask_id] * 200
    ids[136] = wrong
    answer = guest.post("/v1/datasets", json={"masks": {"mask_ids": ids}, "samples_per_mask": 1})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/masks/mask_ids/136"]
    assert guest.client.get("/v1/jobs").json()["items"] == before


FORMS: list[tuple[str, str, int, str]] = [
    ("deep", "[" * 30_000, 422, "invalid_request"),
    ("deep-closed", "[" * 20_000 + "]" * 20_000, 422, "invalid_request"),
    ("twice", '{"policy": "off", "policy": "strict"}', 422, "invalid_request"),
    ("nan", '{"thresholds": {"technical": NaN}}', 422, "invalid_request"),
    ("infinite", '{"thresholds": {"technical": 1e400}}', 422, "out_of_range"),
    ("digits", '{"max_tries": ' + "1" * 5000 + "}", 422, "invalid_request"),
    ("surrogate", '{"policy": "\\ud800"}', 422, "invalid_request"),
    ("long", " " * 70_000, 413, "too_large"),
]


@pytest.mark.parametrize(("text", "status", "code"), [pytest.param(*made, id=row) for row, *made in FORMS])
def test_json_in_a_form_is_read_as_strictly(guest: Guest, text: str, status: int, code: str) -> None:
    answer = guest.post(files={"filter": (None, text)}, data={"mask_id": guest.mask_id})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_every_operation_reads_json_alike(guest: Guest) -> None:
    """A body that is no JSON, an unknown field and no body at all get the same answers everywhere."""
    document = guest.client.get("/openapi.json").json()
    paths = [
        path.replace("{name}", "nano").replace("{dataset_id}", "job_" + "0" * 26)
        for path, operations in document["paths"].items()
        if "application/json" in operations.get("post", {}).get("requestBody", {}).get("content", {})
    ]
    assert len(paths) >= 9
    for path in paths:
        for body, expected in (
            (b"{", (400, "malformed_json")),
            (b"[" * 100_000, (400, "malformed_json")),
            (b'{"is_admin": true}', (422, "unknown_field")),
            (b'{"\\udfff": 1}', (422, "invalid_text")),
            (b"", (422, "missing_body")),
        ):
            answer = guest.post(path, content=body, headers={"content-type": "application/json"})
            codes = {answer.json()["code"]} | {
                "unknown_field" for fault in answer.json()["errors"] if "xtra" in fault["message"]
            }
            assert answer.status_code == expected[0], (path, body[:20], answer.text)
            assert expected[1] in codes, (path, body[:20], answer.text)
