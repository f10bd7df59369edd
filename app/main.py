"""The application: wiring, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from app import middleware, problems
from app.body_limit import BodyLimits
from app.dependencies import AppResources
from app.document import install as install_document
from app.document import operation_id
from app.doorbell import Doorbell
from app.event_logs import EventLogs
from app.hosts import names_for
from app.rate_limits import RateLimits
from app.routes import (
    capabilities,
    catalog,
    datasets,
    deliveries,
    events,
    files,
    generations,
    health,
    jobs,
    mask_sets,
    masks,
    metrics,
    models,
    ogc,
    ogc_jobs,
    page,
    training_sets,
    trainings,
    usage,
    webhooks,
    workers,
)
from models.catalog import catalog as model_catalog
from models.catalog import find_model
from models.errors import Unavailable
from worker.api_keys import KeyRing
from worker.intake import Intake
from worker.logs import configure_logs, get_logger
from worker.name_lookup import NameLookup
from worker.redis_client import connect, connect_async
from worker.registry import ModelRegistry
from worker.settings import Settings, settings
from worker.storage import Storage
from worker.store import Store
from worker.webhook_intake import WebhookIntake
from worker.webhook_rules import rules_of
from worker.webhook_sending import courier_of

log = get_logger(__name__)


def create_app(config: Settings | None = None) -> FastAPI:
    """The API of one process. Raises at once on a wrong setting, so that a bad deployment never serves."""
    config = config or settings()
    configure_logs(config, process="api")
    cards = model_catalog(
        config.model_names, base=config.earthsynth_base, controlnet=config.earthsynth_controlnet
    )
    find_model(cards, config.default_model)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        redis, storage = connect(config), Storage(config)
        async_redis, doorbell = connect_async(config), Doorbell(config.redis_url.get_secret_value())
        rules, lookup = rules_of(config), NameLookup()
        webhooks = WebhookIntake(storage, rules, lookup)
        intake = Intake(config, Store(redis), storage, webhooks)
        registry = ModelRegistry(storage, cards, config.default_model)
        rate_limits = RateLimits(config)
        app.state.resources = AppResources(
            config,
            intake,
            registry,
            KeyRing(storage),
            async_redis,
            doorbell,
            webhooks,
            courier_of(config, rules, lookup),
            EventLogs(async_redis, doorbell),
            rate_limits,
        )
        try:
            await run_in_threadpool(storage.prepare)
        except Unavailable as error:  # /readyz says so until it is back; nothing is accepted meanwhile
            log.warning("storage is not ready", code=error.code, detail=error.message)
        listening = asyncio.create_task(doorbell.listen())
        yield
        doorbell.close()
        while not listening.done():  # again, since redis-py loses a cancellation that comes while it connects
            listening.cancel()
            await asyncio.wait([listening], timeout=0.2)
        lookup.close()
        await rate_limits.close()
        await async_redis.aclose()
        redis.close()

    app = FastAPI(
        title="EarthSynth",
        version="1",
        generate_unique_id_function=operation_id,
        summary="Synthetic satellite pictures with exact labels, from semantic masks.",
        lifespan=lifespan,
        docs_url=None,  # app/routes/page.py has its own
        redoc_url=None,
        redirect_slashes=False,  # a redirect would be written with the request's Host
    )
    problems.install(app)
    middleware.install(
        app,
        body_limits=BodyLimits(
            json_bytes=config.max_json_bytes,
            form_bytes=config.max_upload_bytes,
            archive_bytes=config.max_archive_bytes,
            archive_paths=frozenset({"/v1/mask-sets", "/v1/training-sets"}),
            seconds=config.body_seconds,
            bytes_per_second=config.min_body_bytes_per_second,
        ),
        hosts=names_for(config),
        max_concurrent_requests=config.max_concurrent_requests,
        max_waiting_requests=config.max_waiting_requests,
    )
    for module in (
        health,
        metrics,
        capabilities,
        catalog,
        models,
        masks,
        mask_sets,
        generations,
        datasets,
        training_sets,
        trainings,
        jobs,
        events,
        files,
        usage,
        deliveries,
        webhooks,
        workers,
        ogc,
        ogc_jobs,
        page,
    ):
        app.include_router(module.router)
    install_document(app)
    return app
