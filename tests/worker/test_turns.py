"""Turns between tenants on a real Redis: nothing lost, nothing doubled, nobody waits for another's line."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis
from rq.utils import now as rq_now

from tests.worker.lines import lose_queue
from tests.worker.records import make_job
from worker import lease, queue, turns
from worker.intake import Intake
from worker.jobs import Job, JobKind, JobStatus
from worker.queue import QUEUE_NAME, TASKS, TRAINING_QUEUE, enqueue
from worker.reconcile import give_back_lost, reconcile
from worker.redis_client import connect
from worker.results import store_request
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store

TENANTS = "abc"


def submit(store: Store, tenant: str, **changes: Any) -> Job:
    job = make_job(tenant=tenant, **changes)
    store.create(job)
    assert enqueue(store.redis, job)
    return job


def take(redis: Redis, queue_name: str = QUEUE_NAME, owner: str = "w1") -> str | None:
    taken = lease.take(redis, turns.queue_key(queue_name), owner=owner, seconds=60)
    return None if taken is None else taken[0]


def take_all(redis: Redis, queue_name: str = QUEUE_NAME) -> list[str]:
    return list(iter(lambda: take(redis, queue_name), None))  # type: ignore[arg-type]


def test_one_picture_is_next_although_a_thousand_wait(store: Store, redis: Redis) -> None:
    many = [submit(store, "a").id for _ in range(1000)]
    assert take(redis) == many[0]
    one = submit(store, "b")
    assert queue.position(redis, one.id) == 0, "a has had this turn"
    assert [take(redis) for _ in range(3)] == [one.id, many[1], many[2]]
    assert queue.depth(redis) == 997


def test_the_oldest_is_looked_for_in_every_line_and_before_them(store: Store, redis: Redis) -> None:
    assert queue.oldest_age_seconds(redis) == 0
    jobs = [submit(store, tenant) for tenant in "abca"]
    ages = {"a": 30, "b": 500, "c": 70}
    for job in jobs[:3]:
        when = rq_now() - timedelta(seconds=ages[job.tenant])
        redis.hset(turns.entry_key(job.id), "enqueued_at", when.isoformat())
    assert queue.oldest_age_seconds(redis) == pytest.approx(500, abs=5)
    assert queue.oldest_age_seconds(redis, TRAINING_QUEUE) == 0
    assert queue.withdraw(redis, jobs[1].id)
    assert queue.oldest_age_seconds(redis) == pytest.approx(70, abs=5)
    queue.enqueue_entry(
        redis, jobs[0], queue.cancel_entry(jobs[0].id), queue.TASKS[JobKind.DATASET], first=True
    )
    redis.hset(
        turns.entry_key(queue.cancel_entry(jobs[0].id)),
        "enqueued_at",
        (rq_now() - timedelta(seconds=90)).isoformat(),
    )
    assert queue.oldest_age_seconds(redis) == pytest.approx(90, abs=5), "it goes before every line"


def test_tenants_take_turns_in_the_order_in_which_they_came(store: Store, redis: Redis) -> None:
    entries = [submit(store, tenant) for tenant in "aaabbc"]
    of = {job.id: job.tenant for job in entries}
    taken = take_all(redis)
    assert "".join(of[entry] for entry in taken) == "abcaba"
    assert [entry for entry in taken if of[entry] == "a"] == [job.id for job in entries[:3]]
    assert not redis.keys("es:line:*")
    assert not redis.keys("es:turn*") + redis.keys("es:served*"), "nothing waits, so nobody has a turn"


def test_who_comes_back_goes_last(store: Store, redis: Redis) -> None:
    """A tenant that sends its pictures one by one has no more turns than one that sends them all at once."""
    steady = {submit(store, "a").id for _ in range(4)}
    order = ""
    submit(store, "b")
    for _ in range(6):
        entry = take(redis)
        order += "a" if entry in steady else "b"
        if entry not in steady:
            submit(store, "b")
    assert order == "ababab"


def test_withdrawing_and_sending_again_gains_no_turn(store: Store, redis: Redis) -> None:
    of = {submit(store, "a").id: "a" for _ in range(4)}
    order = ""
    for _ in range(6):
        spare = [submit(store, "b") for _ in range(2)]
        of |= {job.id: "b" for job in spare}
        order += of[take(redis) or ""]
        for job in spare:
            queue.withdraw(redis, job.id)
    assert order == "ababab"


def test_what_was_long_ago_costs_nobody_a_turn(store: Store, redis: Redis) -> None:
    """Whoever was served last when the queue ran empty is served first when he comes first."""
    submit(store, "a"), submit(store, "b")
    take_all(redis)
    late, later = submit(store, "b"), submit(store, "a")
    assert take_all(redis) == [late.id, later.id]


def test_what_ends_something_goes_before_every_line(store: Store, redis: Redis) -> None:
    first, second = submit(store, "a"), submit(store, "b")
    end = queue.cancel_entry(second.id)
    assert queue.enqueue_entry(redis, second, end, TASKS[second.kind], first=True)
    assert queue.position(redis, end) == 0
    assert queue.position(redis, second.id) == 2
    assert take_all(redis) == [end, first.id, second.id]


def test_a_dead_workers_entry_goes_before_every_line(store: Store, redis: Redis) -> None:
    first, second = submit(store, "a"), submit(store, "b")
    assert take(redis, owner="dead") == first.id
    assert lease.give_back(redis, owner="dead", max_attempts=3) == [(first.id, "requeued")]
    assert queue.depth(redis) == 2
    assert take_all(redis) == [first.id, second.id]


def test_an_entry_that_needs_no_run_costs_no_turn(store: Store, redis: Redis) -> None:
    ended = submit(store, "a")
    real, other = submit(store, "a"), submit(store, "b")
    store.update(ended.id, lambda job: job.advance(JobStatus.CANCELED))
    assert take_all(redis) == [real.id, other.id]


def test_a_waiting_entry_of_a_line_is_withdrawn(store: Store, redis: Redis) -> None:
    kept, gone, other = submit(store, "a"), submit(store, "a"), submit(store, "b")
    assert queue.withdraw(redis, gone.id)
    assert not queue.withdraw(redis, gone.id)
    assert queue.position(redis, gone.id) is None
    assert queue.withdraw(redis, other.id), "b has no line any more"
    assert take_all(redis) == [kept.id]
    assert enqueue(redis, gone), "its hash is gone too"


def test_trainings_take_turns_on_their_own_queue(store: Store, redis: Redis) -> None:
    of = {submit(store, tenant, kind=JobKind.TRAINING).id: tenant for tenant in "aab"}
    picture = submit(store, "a")
    assert queue.depth(redis, TRAINING_QUEUE) == 3
    assert [of[entry] for entry in take_all(redis, TRAINING_QUEUE)] == ["a", "b", "a"]
    assert take_all(redis) == [picture.id]


def test_an_entry_from_before_the_lines_is_served_and_withdrawn(store: Store, redis: Redis) -> None:
    """Entries in RQ's list, without a tenant, as an earlier version queued them."""
    old, second = submit(store, "a"), submit(store, "a")
    for job in (old, second):
        redis.hdel(turns.entry_key(job.id), "tenant")
    lose_queue(redis)
    redis.rpush(turns.queue_key(QUEUE_NAME), old.id, second.id)
    new = submit(store, "b")
    assert queue.position(redis, second.id) == 1
    assert queue.withdraw(redis, second.id)
    assert take_all(redis) == [old.id, new.id]


def test_many_takers_get_each_entry_once(store: Store, redis: Redis) -> None:
    jobs = [submit(store, TENANTS[number % 3]).id for number in range(90)]
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: take(redis), range(100)))
    assert sorted(entry for entry in taken if entry) == sorted(jobs)


class Lines:
    """The naive model. `turns`: tenant → (number of its next turn, when it got that number)."""

    def __init__(self) -> None:
        self.first: deque[str] = deque()
        self.lines: dict[str, deque[str]] = defaultdict(deque)
        self.turns: dict[str, tuple[int, int]] = {}
        self.served: dict[str, int] = {}
        self.number = self.clock = 0

    def add(self, tenant: str, entry: str) -> None:
        self.lines[tenant].append(entry)
        if tenant not in self.turns:
            self.give_turn(tenant, max(self.number, self.served.get(tenant, -1) + 1))

    def give_turn(self, tenant: str, number: int) -> None:
        self.clock += 1
        self.turns[tenant] = (number, self.clock)

    def take(self) -> str | None:
        if self.first:
            return self.first.popleft()
        if not self.turns:
            return None
        tenant = min(self.turns, key=lambda name: self.turns[name])
        self.number = self.served[tenant] = self.turns[tenant][0]
        entry = self.lines[tenant].popleft()
        self.give_turn(tenant, self.number + 1)
        self.tidy()
        return entry

    def remove(self, entry: str) -> None:
        for line in (self.first, *self.lines.values()):
            if entry in line:
                line.remove(entry)
        self.tidy()

    def tidy(self) -> None:
        self.turns = {tenant: turn for tenant, turn in self.turns.items() if self.lines[tenant]}
        if not self.turns:
            self.served, self.number = {}, 0

    def order(self) -> list[str]:
        """Every entry, in the order in which they would be taken."""
        return list(iter(copy.deepcopy(self).take, None))  # type: ignore[arg-type]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "take", "take", "withdraw", "die", "lose", "reconcile"]),
        st.integers(0, 10),
    ),
    max_size=40,
)


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=ACTIONS)
def test_whatever_happens_the_order_is_the_models(
    actions: list[tuple[str, int]], store: Store, redis: Redis
) -> None:
    """Nothing lost, nothing doubled, every place as told, and every tenant served between two turns of another."""
    redis.flushall()
    model, jobs, held = Lines(), {}, []
    for action, number in actions:
        if action == "add":
            job = submit(store, TENANTS[number % 3])
            jobs[job.id] = job
            model.add(job.tenant, job.id)
        elif action == "take":
            expected = model.take()
            assert take(redis) == expected
            held += [expected] if expected else []
        elif action == "die" and held:  # its worker dies, and another gives it back
            entry = held.pop(number % len(held))
            redis.zadd(turns.LEASES, {entry: 0})
            assert lease.give_back(redis, max_attempts=10_000) == [(entry, "requeued")]
            model.first.appendleft(entry)
        elif action == "withdraw" and model.order():
            entry = model.order()[number % len(model.order())]
            assert queue.withdraw(redis, entry)
            model.remove(entry)
        elif action == "lose" and jobs:  # an entry that is in no list: somebody finds it
            job = list(jobs.values())[number % len(jobs)]
            if job.id in model.order() and job.id not in model.first:
                model.lines[job.tenant].remove(job.id)  # its tenant keeps the turn
                model.lines[job.tenant].append(job.id)
                redis.lrem(f"es:line:generation:{job.tenant}", 0, job.id)
                assert queue.queue_again(redis, job, job.id, TASKS[job.kind])
        elif action == "reconcile":  # what waits or is leased is left alone
            known = [*model.order(), *held]
            assert not any(queue.queue_again(redis, jobs[e], e, TASKS[jobs[e].kind]) for e in known)
        order = model.order()
        assert queue.depth(redis) == len(order)
        assert [queue.position(redis, entry) for entry in order] == list(range(len(order)))
    assert take_all(redis) == model.order()


@hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(arrivals=st.lists(st.lists(st.sampled_from("abcde"), max_size=6), max_size=15))
def test_between_two_turns_of_a_tenant_every_other_that_waits_is_served(
    arrivals: list[list[str]], store: Store, redis: Redis
) -> None:
    redis.flushall()
    of: dict[str, str] = {}
    served: list[tuple[str, set[str]]] = []  # who was served, and who waited before that
    line: Counter[str] = Counter()

    def serve() -> bool:
        before = set(+line)
        entry = take(redis)
        if entry is None:
            return False
        line[of[entry]] -= 1
        served.append((of[entry], before))
        return True

    for group in arrivals:
        for tenant in group:
            of[submit(store, tenant).id] = tenant
            line[tenant] += 1
        serve()
    while serve():
        pass
    assert len(served) == len(of)
    for tenant in "abcde":
        turns_of = [at for at, (who, _) in enumerate(served) if who == tenant]
        for begin, end in pairwise(turns_of):
            waited = set.intersection(*(before for _, before in served[begin : end + 1])) - {tenant}
            between = [who for who, _ in served[begin + 1 : end]]
            assert waited <= set(between)


@pytest.fixture
def mortal(settings: Settings) -> Iterator[tuple[Redis, list[int]]]:
    """A client whose process dies before a command: the list holds how many it still may send."""
    client, left = connect(settings), [10_000]
    get_connection = client.connection_pool.get_connection

    def burnt(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise SystemExit(1)
        return get_connection(*arguments, **options)

    client.connection_pool.get_connection = burnt
    yield client, left
    client.close()


@pytest.mark.parametrize("canceled", [False, True])
def test_a_process_may_die_before_any_command(
    mortal: tuple[Redis, list[int]],
    store: Store,
    storage: Storage,
    redis: Redis,
    settings: Settings,
    canceled: bool,
) -> None:
    """Submitted, then canceled or taken and given back: after each death the job waits once, or has ended."""
    dying, left = mortal
    dead = Intake(settings, Store(dying), storage)
    for allowed in range(20):
        redis.flushall()
        other, job = submit(store, "b"), make_job(tenant="a")
        store_request(storage, job)
        left[0] = allowed
        try:
            dead.store.create(job)
            enqueue(dying, job)
            if canceled:
                dead.cancel("a", job.id)
            else:
                assert [take(dying, owner="dead") for _ in range(3)] == [other.id, job.id, None]
                give_back_lost(dying, dead.store, storage, settings, owner="dead")
            survived = True
        except SystemExit:
            survived = False
        give_back_lost(redis, store, storage, settings, owner="dead")
        reconcile(redis, store, storage, settings)
        assert reconcile(redis, store, storage, settings) == 0
        known = store.load(job.id)
        assert known is not None
        assert known.ended == (known.status is JobStatus.CANCELED)
        assert sorted(take_all(redis)) == sorted({other.id} if known.ended else {job.id, other.id})
        storage.delete(f"a/jobs/{job.id}/")
        if survived:
            assert allowed > 3
            return
    raise AssertionError("it never got through")
