"""The local stack's Redis and S3, as real processes: start, stop, restart, faults."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import boto3
import httpx
import psutil
import pytest
import redis
from botocore.config import Config

from deploy import ports
from deploy.localstack import LocalStack
from deploy.stack_error import StackError
from tests.waiting import until

SERVERS = {"redis", "s3"}


def s3_client(stack: LocalStack, **options: object):
    return boto3.client(
        "s3",
        endpoint_url=stack.s3_endpoint,
        aws_access_key_id=stack.s3_access_key,
        aws_secret_access_key=stack.s3_secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, proxies={}, **options),
    )


def test_what_was_stored_survives_a_restart_even_on_other_ports(tmp_path: Path) -> None:
    with LocalStack(tmp_path, parts=SERVERS) as stack:
        with redis.Redis.from_url(stack.redis_url) as client:
            client.set("kept", "yes")
        s3 = s3_client(stack)
        s3.create_bucket(Bucket="kept")
        s3.put_object(Bucket="kept", Key="a/b.bin", Body=bytes(range(256)) * 100)
        first_url, first_endpoint = stack.redis_url, stack.s3_endpoint

    with LocalStack(tmp_path, parts=SERVERS) as stack:
        assert (stack.redis_url, stack.s3_endpoint) == (first_url, first_endpoint)

    with (
        socket.create_server(("127.0.0.1", int(first_url.rpartition(":")[2].partition("/")[0]))),
        socket.create_server(("127.0.0.1", int(first_endpoint.rpartition(":")[2]))),
        LocalStack(tmp_path, parts=SERVERS) as stack,
    ):
        assert stack.redis_url != first_url
        assert stack.s3_endpoint != first_endpoint
        with redis.Redis.from_url(stack.redis_url) as client:
            assert client.get("kept") == b"yes"
        body = s3_client(stack).get_object(Bucket="kept", Key="a/b.bin")["Body"].read()
        assert body == bytes(range(256)) * 100


def test_a_restarted_stack_takes_objects_at_once(tmp_path: Path) -> None:
    for number in range(5):
        with LocalStack(tmp_path, parts={"s3"}) as stack:
            s3 = s3_client(stack, read_timeout=3, retries={"total_max_attempts": 1})
            if number == 0:
                s3.create_bucket(Bucket="kept")
            s3.put_object(Bucket="kept", Key=str(number), Body=bytes([number]) * 4000)
            for earlier in range(number + 1):
                body = s3.get_object(Bucket="kept", Key=str(earlier))["Body"].read()
                assert body == bytes([earlier]) * 4000
            if number % 2:  # a crash; else it is asked to stop
                os.kill(stack.pids["s3"], signal.SIGKILL)


def test_two_stacks_run_at_once_and_one_folder_serves_one_stack(tmp_path: Path) -> None:
    with LocalStack(tmp_path / "one", parts=SERVERS) as one:
        with LocalStack(tmp_path / "two", parts=SERVERS) as two:
            for stack in (one, two):
                with redis.Redis.from_url(stack.redis_url) as client:
                    client.set("mine", str(stack.path))
            with redis.Redis.from_url(one.redis_url) as client:
                assert client.get("mine") == str(one.path).encode()
        with (
            pytest.raises(StackError, match=r"another stack already runs on .*one"),
            LocalStack(tmp_path / "one", parts=SERVERS),
        ):
            pass
        assert set(one.pids) == SERVERS, "the refused stack must not touch the running one"


def test_secrets_stay_off_command_lines_and_everything_listens_on_loopback(tmp_path: Path) -> None:
    with LocalStack(tmp_path, parts=SERVERS) as stack:
        secrets = [stack.redis_url.split(":")[2].split("@")[0], stack.s3_access_key, stack.s3_secret_key]
        for pid in stack.pids.values():
            process = psutil.Process(pid)
            command = " ".join(process.cmdline())
            assert not any(secret in command for secret in secrets)
            listening = [c.laddr.ip for c in process.net_connections("inet") if c.status == "LISTEN"]
            assert listening
            assert set(listening) == {"127.0.0.1"}
        for file in (tmp_path / "keys").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        with redis.Redis.from_url(stack.redis_url) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("append*")["appendonly"] == "yes"
        stranger = redis.Redis.from_url(stack.redis_url.replace(secrets[0], "wrong"))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_a_part_that_dies_is_started_again_with_its_data(tmp_path: Path) -> None:
    reports: list[str] = []
    with LocalStack(tmp_path, parts=SERVERS, report=reports.append) as stack:
        with redis.Redis.from_url(stack.redis_url) as client:
            client.set("kept", "yes")
        before = dict(stack.pids)
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        until(lambda: set(stack.pids) == SERVERS and not set(stack.pids.values()) & set(before.values()))
        with redis.Redis.from_url(stack.redis_url) as client:
            until(lambda: _answers(client))
            assert client.get("kept") == b"yes"
    assert "redis ended with exit code -9; starting it again" in reports


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def test_kill_9_of_the_launcher_leaves_no_process(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from deploy.localstack import LocalStack\n"
        "with LocalStack(sys.argv[1], parts={'redis', 's3'}) as stack:\n"
        "    print(*stack.pids.values(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdout is not None
    with launcher.stdout as out:
        pids = [int(word) for word in out.readline().split()]
    assert len(pids) == 2
    assert all(psutil.pid_exists(pid) for pid in pids)
    launcher.kill()
    launcher.wait()
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids), seconds=3)
    with LocalStack(tmp_path, parts=SERVERS) as stack:
        assert set(stack.pids) == SERVERS


def test_a_part_that_cannot_start_is_named_with_its_last_log_lines(tmp_path: Path) -> None:
    with LocalStack(tmp_path, parts={"redis"}):
        pass
    (manifest,) = (tmp_path / "redis" / "appendonlydir").glob("*.manifest")
    manifest.write_text("not a manifest\n")
    with pytest.raises(StackError, match=r"(?s)redis ended with exit code 1; see .*redis\.log\n.*manifest"):
        LocalStack(tmp_path, parts={"redis"}).__enter__()


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} is in use"):
            LocalStack(tmp_path, port=port).__enter__()
    assert not list((tmp_path / "logs").iterdir())


def test_who_calls_while_the_api_restarts_waits_and_nobody_else_gets_its_port(tmp_path: Path) -> None:
    with LocalStack(tmp_path, parts=SERVERS | {"api"}, workers=0) as stack:
        killed = stack.pids["api"]
        os.kill(killed, signal.SIGKILL)
        assert not ports.is_free(stack.api_port)
        with httpx.Client(trust_env=False, timeout=30) as client:
            assert client.get(f"{stack.api_url}/livez").status_code == 200
        assert stack.pids["api"] != killed
        port = stack.api_port
    assert ports.is_free(port), "a stopped stack gives it back"


def test_a_free_port_is_found_and_held() -> None:
    with ports.listen() as one, ports.listen() as other:
        taken = [held.getsockname()[1] for held in (one, other)]
        assert len(set(taken)) == 2
        assert set(taken) <= set(ports.CHOICE)
        with pytest.raises(StackError, match=f"port {taken[0]} is in use"):
            ports.listen(taken[0])
        with socket.create_connection(("127.0.0.1", taken[1]), timeout=5):
            pass
    ports.listen(taken[0]).close()
