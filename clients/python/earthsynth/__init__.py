"""EarthSynth: synthetic satellite pictures with exact labels, from semantic masks.

from earthsynth import EarthSynth

client = EarthSynth()                       # EARTHSYNTH_URL and EARTHSYNTH_API_KEY
generation = client.generate("mask.png", num_images=4, wait=True)
generation.save("pictures")
"""

from earthsynth import types, webhooks
from earthsynth._async.client import AsyncEarthSynth
from earthsynth._async.datasets import AsyncDataset
from earthsynth._async.exports import AsyncExport
from earthsynth._async.generations import AsyncGeneration
from earthsynth._async.jobs import AsyncJob
from earthsynth._async.masks import AsyncMask
from earthsynth._async.pages import AsyncPager
from earthsynth._async.trainings import AsyncTraining
from earthsynth._sync.client import EarthSynth
from earthsynth._sync.datasets import Dataset
from earthsynth._sync.exports import Export
from earthsynth._sync.generations import Generation
from earthsynth._sync.jobs import Job
from earthsynth._sync.masks import Mask
from earthsynth._sync.pages import Pager
from earthsynth._sync.trainings import Training
from earthsynth._version import __version__
from earthsynth.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequest,
    Conflict,
    DownloadError,
    EarthSynthError,
    FieldError,
    Gone,
    JobCanceled,
    JobFailed,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    RateLimited,
    RequestError,
    ServerError,
    ServiceUnavailable,
    UnexpectedAnswer,
    UnprocessableRequest,
    UnsafeArchive,
    UnsupportedMediaType,
    WaitTimeout,
    WebhookVerificationError,
)
from earthsynth.types import FileRef, JobStatus, MaskSet, Model, Sample, TrainingSet

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AsyncDataset",
    "AsyncEarthSynth",
    "AsyncExport",
    "AsyncGeneration",
    "AsyncJob",
    "AsyncMask",
    "AsyncPager",
    "AsyncTraining",
    "AuthenticationError",
    "BadRequest",
    "Conflict",
    "Dataset",
    "DownloadError",
    "EarthSynth",
    "EarthSynthError",
    "Export",
    "FieldError",
    "FileRef",
    "Generation",
    "Gone",
    "Job",
    "JobCanceled",
    "JobFailed",
    "JobStatus",
    "Mask",
    "MaskSet",
    "Model",
    "NotFound",
    "Pager",
    "PayloadTooLarge",
    "PermissionDenied",
    "RateLimited",
    "RequestError",
    "Sample",
    "ServerError",
    "ServiceUnavailable",
    "Training",
    "TrainingSet",
    "UnexpectedAnswer",
    "UnprocessableRequest",
    "UnsafeArchive",
    "UnsupportedMediaType",
    "WaitTimeout",
    "WebhookVerificationError",
    "__version__",
    "types",
    "webhooks",
]
