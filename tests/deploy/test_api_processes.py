"""More API processes than one, on one port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from deploy import ports
from deploy.localstack import LocalStack
from tests.waiting import until


def test_they_share_the_port_and_each_that_dies_is_replaced(servers: LocalStack) -> None:
    (port,) = ports.choose(1)
    env = servers.environment | {
        "EARTHSYNTH_S3_BUCKET": "processes",
        "EARTHSYNTH_PORT": str(port),
        "EARTHSYNTH_API_PROCESSES": "2",
    }
    url = f"http://127.0.0.1:{port}/livez"

    def answers() -> bool:
        try:
            return httpx.get(url, trust_env=False, timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    api = subprocess.Popen([sys.executable, "-m", "deploy.cli", "serve"], env=os.environ | env)
    try:
        parent = psutil.Process(api.pid)

        def second() -> psutil.Process | None:
            """The other process, once it takes connections: it has threads of its own then."""
            alive = [child for child in parent.children() if child.status() != psutil.STATUS_ZOMBIE]
            found = [child for child in alive if "--socket" in child.cmdline()]
            return found[0] if found and found[0].num_threads() > 1 else None

        until(answers, seconds=30)
        helper = until(second, seconds=30)
        helper.kill()
        successor = until(
            lambda: found if (found := second()) and found.pid != helper.pid else None, seconds=30
        )
        parent.suspend()  # whoever answers now is the other one
        try:
            until(answers, seconds=30)
        finally:
            parent.resume()
        assert answers()
        assert_both_are_counted(f"http://127.0.0.1:{port}")
    finally:
        api.send_signal(signal.SIGTERM)
        api.wait(30)
    assert not successor.is_running()
    assert not answers()


def assert_both_are_counted(url: str) -> None:
    """Whichever process a scrape comes to, it says what all of them have answered, and forgets none."""

    def counted() -> float:
        answer = httpx.get(f"{url}/metrics", trust_env=False, timeout=10)
        found = {
            sample.labels["status"]: sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.name == "earthsynth_http_requests_total" and sample.labels["route"] == "/v1/categories"
        }
        return found.get("200", 0.0)

    for number in range(1, 41):  # each from a connection of its own, which either process may take
        httpx.get(f"{url}/v1/categories", trust_env=False, timeout=10).raise_for_status()
        assert counted() == number
