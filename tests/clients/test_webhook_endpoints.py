"""`client.webhooks` and `job.deliveries` against the real service, which calls a receiver on loopback."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from deploy.localstack import LocalStack
from earthsynth import AsyncEarthSynth, EarthSynth, Gone, NotFound, UnprocessableRequest, webhooks
from earthsynth.types import Delivery
from tests.pictures import png, road_and_buildings
from tests.receivers import answer, receiver
from tests.waiting import until

QUICK = {"width": 64, "height": 64, "num_inference_steps": 2, "filter": "off"}


def test_an_endpoint_hears_of_a_job_and_again_when_it_is_told_to(synth: EarthSynth) -> None:
    with receiver(answer(204)) as there:
        endpoint = synth.webhooks.create(there.url, ["job.succeeded"], description="mine")
        assert (endpoint.url, endpoint.events, endpoint.description) == (there.url, ["job.succeeded"], "mine")
        secret = endpoint.secret
        assert secret is not None
        assert synth.webhooks.secret(endpoint.id).secret == secret
        assert synth.webhooks.create(there.url, ["job.succeeded"]).secret is None, "the same one"

        job = synth.generate(png(road_and_buildings()), wait=True, **QUICK)
        call = until(lambda: there.calls and there.calls[0], seconds=20)
        event = webhooks.verify(call.body, call.headers, secret)
        assert (event.type, event.data["id"]) == ("job.succeeded", job.id)

        def delivered() -> Delivery | None:
            (found,) = job.deliveries()
            return found if found.status == "delivered" else None

        delivery = until(delivered, seconds=20)
        assert (delivery.webhook_id, delivery.endpoint_id) == (call.webhook_id, endpoint.id)
        assert [attempt["status"] for attempt in delivery.attempts] == [204]
        assert job.redeliver(delivery.id).id == delivery.id
        again = until(lambda: len(there.calls) > 1 and there.calls[1], seconds=20)
        assert (again.webhook_id, again.body) == (call.webhook_id, call.body)
        with pytest.raises(NotFound):
            job.redeliver("dlv_0")

        rotated = synth.webhooks.rotate(endpoint.id).secret
        assert rotated not in {None, secret}
        tried = synth.webhooks.test(endpoint_id=endpoint.id)
        assert (tried.delivered, tried.status, tried.endpoint_id) == (True, 204, endpoint.id)
        last = there.calls[-1]
        for one in (secret, str(rotated)):  # both sign for a day
            assert webhooks.verify(last.body, last.headers, one).type == "webhook.test"
        assert tried.body == last.body.decode()

        assert endpoint.id in [one.id for one in synth.webhooks.list()]
        synth.webhooks.delete(endpoint.id)
        with pytest.raises(NotFound):
            synth.webhooks.get(endpoint.id)
        assert endpoint.id not in [one.id for one in synth.webhooks.list()]


def test_an_endpoint_that_is_gone_is_enabled_again(synth: EarthSynth) -> None:
    with receiver(answer(410)) as there:
        endpoint = synth.webhooks.create(there.url)
        synth.generate(png(road_and_buildings()), wait=True, **QUICK)
        shown = until(lambda: _disabled(synth, endpoint.id), seconds=20)
        assert shown.startswith("The receiver answered 410 Gone to job.")
        found = synth.webhooks.enable(endpoint.id)
        assert (found.enabled, found.disabled_reason) == (True, None)
        synth.webhooks.delete(endpoint.id)


def _disabled(synth: EarthSynth, endpoint_id: str) -> str | None:
    found = synth.webhooks.get(endpoint_id)
    return None if found.enabled else found.disabled_reason


def test_what_may_not_be_called_is_refused(synth: EarthSynth) -> None:
    with pytest.raises(UnprocessableRequest) as caught:
        synth.webhooks.create("ftp://receiver.example.net/")
    assert [field.pointer for field in caught.value.errors] == ["/url"]
    with pytest.raises(NotFound):
        synth.webhooks.test(endpoint_id="whe_0")


def test_one_key_makes_one_endpoint_and_a_job_names_its_own(service: LocalStack) -> None:
    async def run() -> None:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=60) as http,
            AsyncEarthSynth(service.api_url, http_client=http) as client,
        ):
            with receiver(answer(200)) as there:
                made = await asyncio.gather(
                    *(client.webhooks.create(there.url, idempotency_key="one-endpoint") for _ in range(4))
                )
                assert len({(one.id, one.secret) for one in made}) == 1, "the secret too: it is a replay"
                await client.webhooks.delete(made[0].id)
                job = await client.generate(
                    png(road_and_buildings()),
                    webhook={"url": there.url, "events": ["job.succeeded"]},
                    **QUICK,
                )
                await job.wait(60)
                call = await asyncio.to_thread(until, lambda: there.calls and there.calls[0], seconds=20)
                assert json.loads(call.body)["data"]["id"] == job.id
                assert [one.event async for one in job.deliveries()] == ["job.succeeded"]
                await job.delete()
                with pytest.raises(Gone):
                    await job.reload()

    asyncio.run(run())
