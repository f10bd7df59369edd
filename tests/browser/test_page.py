"""The page as people use it: a real browser, the real service, the nano checkpoint."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from deploy.localstack import LocalStack
from tests.app.served import served
from tests.browser.conftest import Visit
from tests.conftest import GuardedService, settings_of
from tests.pictures import OFF, png, road_and_buildings
from worker.jobs import now
from worker.redis_client import connect
from worker.settings import Settings
from worker.worker_list import WorkerEntry, announce, withdraw_worker

pytestmark = pytest.mark.browser

JOB = re.compile(r"#job_[0-9a-z]{26}$")
SCRIPT = "<script>window.ran = 1</script>"
IMAGE = "<img src=x onerror='window.ran = 1'>"
SAMPLE = Path(__file__).parents[2] / "models" / "nano" / "sample_mask.png"


def try_sample(page: Page) -> None:
    page.get_by_role("button", name="Try the sample mask").click()
    expect(page.get_by_role("checkbox", name="building")).to_be_checked()


def send(page: Page, *, images: int = 1, steps: int = 10) -> None:
    page.get_by_label("Number").fill(str(images))
    page.get_by_label("Steps").fill(str(steps))
    page.get_by_role("button", name="Make pictures").click()


def status(page: Page, expected: str) -> None:
    expect(page.locator("#job").get_by_role("status")).to_have_text(expected, timeout=60_000)


def ran(page: Page) -> bool:
    return bool(page.evaluate("'ran' in window"))


def test_from_the_sample_to_pictures_and_back_by_the_address(visit: Visit, service: LocalStack) -> None:
    with visit(service.api_url) as page:
        expect(page.locator("#service-words")).to_have_text(re.compile("^Ready"))
        try_sample(page)
        page.get_by_label("Seed").fill("7")
        send(page, images=2)
        status(page, "succeeded")

        pictures = page.locator("img.picture")
        expect(pictures).to_have_count(2)
        expect(page.locator("#job")).to_contain_text("2 of 2 pictures accepted")
        expect(page.locator("#job")).to_contain_text(
            "A satellite image of bare land, road, tree, water, building"
        )
        for picture in pictures.all():
            expect(picture).to_have_js_property("complete", True)
            expect(picture).to_have_js_property("naturalWidth", 256)
        page.get_by_text(re.compile("R-Filter: . of . rules passed")).first.click()
        expect(page.locator("#job")).to_contain_text("technical")
        with page.expect_download() as download:
            page.get_by_role("button", name="labels (JSON)").first.click()
        labels = json.loads(download.value.path().read_text())
        assert labels["categories"] == ["bare land", "road", "tree", "water", "building"]
        assert labels["seed"] == 7

        assert JOB.search(page.url)
        page.reload()
        status(page, "succeeded")
        expect(page.locator("img.picture")).to_have_count(2)
        expect(page.locator("#jobs a[aria-current]")).to_have_count(1)


def test_laid_over_the_picture_the_mask_has_its_colours(visit: Visit, service: LocalStack) -> None:
    with httpx.Client(base_url=service.api_url, trust_env=False, timeout=90) as client:
        form = {"mask": SAMPLE.read_bytes(), "filter": (None, OFF), "num_inference_steps": (None, "1")}
        job = client.post("/v1/generations?wait=60", files=form).json()
        preview = client.get(f"/v1/masks/{job['request']['mask_id']}/preview").content
    with visit(f"{service.api_url}#{job['id']}") as page:
        stage = page.locator(".stage:has(.picture)")
        page.get_by_label("Mask over the picture").focus()
        page.keyboard.press("End")  # 100 %
        shown = np.asarray(Image.open(io.BytesIO(stage.screenshot())).convert("RGB")).astype(int)
        size = (shown.shape[1], shown.shape[0])
        expected = np.asarray(Image.open(io.BytesIO(preview)).convert("RGB").resize(size, 0)).astype(int)
        same = np.abs(shown - expected).max(axis=2) <= 3
        assert same.mean() > 0.95  # but for edges, which two scalings round differently, and round corners


def test_objects_have_boxes(visit: Visit, service: LocalStack) -> None:
    boxes = [[8, 4, 22, 16], [40, 40, 10, 20]]

    def with_objects(route: Route) -> None:  # nano knows land cover alone, which has none
        answer = route.fetch()
        page = answer.json()
        page["items"][0]["labels"]["annotations"] = [
            {"category": IMAGE, "category_id": 17, "box_xywh": box, "area": 9} for box in boxes
        ]
        route.fulfill(response=answer, json=page)

    with visit(service.api_url) as page:
        page.route("**/results*", with_objects)
        try_sample(page)
        send(page)
        drawn = page.locator(".boxes rect")
        expect(drawn).to_have_count(2)
        sides = ("x", "y", "width", "height")
        assert [[int(one.get_attribute(side) or "") for side in sides] for one in drawn.all()] == boxes
        expect(page.locator("#job")).to_contain_text(f"2 objects: 2 {IMAGE}")
        page.get_by_label("Boxes").uncheck()
        expect(drawn.first).to_be_hidden()
        assert not ran(page)


def test_a_running_job_can_be_canceled(visit: Visit, service: LocalStack) -> None:
    with visit(service.api_url) as page:
        try_sample(page)
        send(page, images=16, steps=100)
        status(page, "running")
        expect(page.locator("#job progress")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        status(page, "canceled")
        expect(page.locator("#jobs a").first).to_contain_text("canceled")


def test_a_broken_stream_goes_on_after_its_last_event(visit: Visit, service: LocalStack) -> None:
    asked: list[str | None] = []

    def cut(route: Route) -> None:
        asked.append(route.request.headers.get("last-event-id"))
        if len(asked) == 1:
            route.abort()
        elif len(asked) == 2:
            body = 'id: 0-1\nevent: log\ndata: {"level": "warning", "message": "cut off"}\n\n'
            route.fulfill(body=body, content_type="text/event-stream")
        else:
            route.continue_()

    with visit(service.api_url) as page:
        page.route("**/events", cut)
        try_sample(page)
        send(page)
        status(page, "succeeded")
        expect(page.get_by_text("cut off")).to_be_visible()
        assert asked == [None, None, "0-1"]


def test_a_failed_job_says_why(visit: Visit, service: LocalStack) -> None:
    error = {
        "type": "urn:earthsynth:problem:worker_lost",
        "title": "Internal Server Error",
        "status": 500,
        "code": "worker_lost",
        "detail": f"3 workers were lost at it. {SCRIPT}",
        "errors": [],
        "request_id": None,
        "retryable": True,
    }

    def failed(route: Route) -> None:  # what tests/chaos makes with three kills
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"status": "failed", "error": error})

    with visit(service.api_url) as page:
        page.route(re.compile(r"/v1/jobs/job_[0-9a-z]{26}$"), failed)
        try_sample(page)
        send(page)
        status(page, "failed")
        expect(page.get_by_role("alert")).to_contain_text(SCRIPT)
        expect(page.get_by_role("alert")).to_contain_text("worker_lost · status 500")
        expect(page.get_by_role("button", name="Make the missing ones again")).to_be_enabled()
        assert not ran(page)


def test_a_wrong_file_is_refused_in_a_sentence(visit: Visit, service: LocalStack) -> None:
    ids = road_and_buildings()
    ids[12, 40] = 90
    with visit(service.api_url) as page:
        page.get_by_label("Encoding").select_option("class_id")
        page.set_input_files("#mask-file", {"name": "wrong.png", "mimeType": "image/png", "buffer": png(ids)})
        problem = page.get_by_role("alert")
        expect(problem).to_contain_text("90")
        expect(problem).to_contain_text(re.compile("status 422 · request [0-9a-f]{32}"))
        expect(page.get_by_role("button", name="Make pictures")).to_be_disabled()

        page.set_input_files(
            "#mask-file", {"name": "right.png", "mimeType": "image/png", "buffer": png(road_and_buildings())}
        )
        expect(page.get_by_role("checkbox", name="road")).to_be_checked()
        expect(problem).to_have_count(0)
        for name in ("bare land", "road"):
            page.get_by_role("checkbox", name=name).uncheck()
        send(page)
        expect(page.locator("#job")).to_contain_text("“A satellite image of building”")


def test_texts_of_users_stay_texts(visit: Visit, service: LocalStack) -> None:
    with httpx.Client(base_url=service.api_url, trust_env=False, timeout=90) as client:
        mask = client.post("/v1/masks", files={"file": SAMPLE.read_bytes()}).json()
        asked = {
            "mask_id": mask["id"],
            "num_inference_steps": 1,
            "filter": {"policy": "off"},
            "prompt": IMAGE,
        }
        own = {"custom_id": SCRIPT, "metadata": {"note": IMAGE, "other": SCRIPT}}
        job = client.post("/v1/generations?wait=60", json=asked | own).json()

    def hostile(route: Route) -> None:
        answer = route.fetch()
        changed = answer.json() | {"warnings": [SCRIPT]}
        changed["categories"][0]["name"] = IMAGE
        route.fulfill(response=answer, json=changed)

    with visit(f"{service.api_url}#{job['id']}") as page:
        panel = page.locator("#job")
        expect(page.locator("img.picture")).to_have_count(1)
        expect(panel.get_by_text(SCRIPT)).to_have_count(2)
        expect(panel.get_by_text(IMAGE)).to_have_count(2)
        expect(page.locator("#jobs a").first).to_contain_text(SCRIPT)
        page.route("**/v1/masks", hostile)
        named = {"name": f"{IMAGE}.png", "mimeType": "image/png", "buffer": SAMPLE.read_bytes()}
        page.set_input_files("#mask-file", named)
        expect(page.locator("#mask").get_by_text(IMAGE)).to_have_count(2)
        expect(page.locator("#mask").get_by_text(SCRIPT)).to_have_count(1)
        assert page.locator("img[src=x], #job script, #jobs script, #mask script").count() == 0
        assert not ran(page)


def test_a_key_is_asked_for_kept_in_the_tab_and_forgotten(visit: Visit, guarded: GuardedService) -> None:
    with visit(guarded.stack.api_url) as page:
        key = page.get_by_label("Key", exact=True)
        expect(key).to_be_focused()
        key.fill("es_wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#key-why")).to_contain_text("invalid_key")
        key.fill(guarded.keys["acme"])
        page.get_by_role("button", name="Use this key").click()
        expect(key).to_be_hidden()
        expect(page.locator("#service-words")).to_have_text("No worker: jobs wait")

        try_sample(page)
        send(page)
        status(page, "queued")
        expect(page.locator("#job")).to_contain_text("next in the queue")
        page.reload()
        status(page, "queued")
        page.get_by_role("button", name="Cancel").click()
        status(page, "canceled")
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]

        page.get_by_role("button", name="Forget the API key").click()
        expect(key).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0
        expect(page.locator("#jobs a")).to_have_count(0)


def test_a_worker_that_failed_says_why(visit: Visit, guarded: GuardedService) -> None:
    redis = connect(settings_of(guarded.stack))
    entry = WorkerEntry(
        name="w1",
        host="here",
        pid=1,
        status="failed",
        reason=f"the weights are absent {SCRIPT}",
        started_at=now(),
        seen_at=now(),
    )
    announce(redis, entry, seconds=60)
    with visit(guarded.stack.api_url) as page:
        page.get_by_label("Key", exact=True).fill(guarded.keys["acme"])
        page.keyboard.press("Enter")
        words = page.get_by_text("The worker failed to start")
        expect(words).to_be_visible()
        words.click()
        expect(page.get_by_text("the weights are absent")).to_contain_text(SCRIPT)
        assert not ran(page)
    withdraw_worker(redis, "w1")
    redis.close()


def test_too_many_requests_say_when_to_come_again(visit: Visit, settings: Settings) -> None:
    limited = settings.model_copy(update={"create_rate_limit": "1/hour"})
    with served(limited) as url, visit(url) as page:
        for ids in (road_and_buildings(), road_and_buildings().T):
            page.set_input_files("#mask-file", {"name": "m.png", "mimeType": "image/png", "buffer": png(ids)})
            expect(page.locator("#mask img, #mask-problem .problem")).to_have_count(1)
            expect(page.get_by_text("Reading")).to_have_count(0)
        expect(page.get_by_role("alert")).to_contain_text(re.compile(r"Try again in \d+ min"))


def test_reference_needs_no_other_host(visit: Visit, service: LocalStack) -> None:
    with visit(f"{service.api_url}/docs") as page:
        operation = page.get_by_role("button", name="POST /v1/generations").first
        operation.click()
        expect(page.get_by_text("Makes pictures from one mask. Answers 202 at once").first).to_be_visible()


def test_all_of_it_fits_a_phone_and_works_by_keyboard(visit: Visit, service: LocalStack) -> None:
    with visit(service.api_url) as page:
        page.set_viewport_size({"width": 360, "height": 740})
        try_sample(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        unnamed = page.evaluate(
            "[...document.querySelectorAll('input, select')]"
            ".filter((field) => !field.labels.length).map((field) => field.id)"
        )
        assert unnamed == []
        page.get_by_role("link", name="Skip to the form").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.locator("#mask-file")).to_be_focused()
