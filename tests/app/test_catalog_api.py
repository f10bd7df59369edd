"""What the service says of itself."""

from __future__ import annotations

import httpx
import psutil

from deploy.localstack import LocalStack


def test_categories(client: httpx.Client) -> None:
    items = client.get("/v1/categories").json()["items"]
    assert [item["id"] for item in items] == list(range(67))
    assert items[25]["name"] == "storage tank"
    assert items[25]["is_thing"]
    assert not items[4]["is_thing"]


def test_ontologies(client: httpx.Client) -> None:
    found = {item["name"]: item for item in client.get("/v1/ontologies").json()["items"]}
    assert found.keys() == {"earthsynth", "openearthmap", "loveda", "deepglobe", "flair"}
    assert found["loveda"]["ids"]["2"] == 8
    assert found["flair"]["colors"]["#db0e9a"] == 8


def test_models(client: httpx.Client) -> None:
    nano = client.get("/v1/models").json()["items"][0]
    assert nano["default"]
    assert nano["current"]
    assert set(nano["categories"]) == {"bare land", "road", "tree", "water", "building"}
    assert len(nano["sha256"]) == 64
    assert nano.items() <= client.get("/v1/models/nano@2").json().items()
    assert client.get("/v1/models/other").status_code == 404


def test_workers_are_real_processes(client: httpx.Client, service: LocalStack) -> None:
    items = client.get("/v1/workers").json()["items"]
    (worker,) = (item for item in items if item["queue"] == "generation")
    assert worker["status"] in {"ready", "busy"}
    process = psutil.Process(worker["pid"])
    assert "earthsynth-worker" in " ".join(process.cmdline())
    assert worker["model"]["name"] == "nano"
    assert worker["model"]["sha256"] == client.get("/v1/models").json()["items"][0]["sha256"]


def test_health(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "workers": 1}


def test_unknown_routes_and_methods(client: httpx.Client) -> None:
    assert client.get("/v2/anything").json()["code"] == "not_found"
    assert client.delete("/v1/categories").json()["code"] == "method_not_allowed"


def test_request_ids(client: httpx.Client) -> None:
    kept = client.get("/nothing", headers={"X-Request-ID": "abc-123"})
    assert kept.headers["x-request-id"] == kept.json()["request_id"] == "abc-123"
    replaced = client.get("/nothing", headers={"X-Request-ID": "x; DROP TABLE"})
    assert replaced.json()["request_id"] != "x; DROP TABLE"
    assert replaced.headers["x-content-type-options"] == "nosniff"


def test_the_openapi_document(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert "HTTPValidationError" not in str(document)
    body = document["paths"]["/v1/generations"]["post"]["requestBody"]["content"]
    assert body.keys() == {"application/json", "multipart/form-data"}
    schemas = document["components"]["schemas"]
    assert body["multipart/form-data"]["schema"] == {"$ref": "#/components/schemas/GenerationForm"}
    assert schemas["GenerationForm"]["properties"]["mask"]["format"] == "binary"
    assert body["application/json"]["schema"] == {"$ref": "#/components/schemas/GenerationRequest"}
    assert "num_inference_steps" in schemas["GenerationRequest"]["properties"]
