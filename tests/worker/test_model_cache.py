"""The model cache and what the worker loads from it: fetched once, and compared with its hashes before it loads."""

from __future__ import annotations

import filecmp
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.catalog import nano_card
from models.errors import ModelUnavailable
from models.model_card import ModelCard
from models.synthesis.checkpoint import open_checkpoint
from tests.worker.published import CONTROLNET, changed_nano, provenance, publish, registry_of
from worker.gpu import Gpu, calibration_of
from worker.layout import model_file_key
from worker.model_cache import ModelCache
from worker.registry import ModelRegistry
from worker.settings import Settings
from worker.storage import Storage

ENOUGH = 1 << 30


@pytest.fixture
def registry(storage: Storage) -> ModelRegistry:
    return registry_of(storage)


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Path]:
    """Makes folders that stand for checkpoints where nothing is loaded: a base that is the same, and `own` bytes."""

    def make(name: str, own: bytes = b"own", base: bytes = b"base") -> Path:
        for place, content in {"unet/a.safetensors": base, "controlnet/b.safetensors": own}.items():
            path = tmp_path / name / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path / name

    return make


@pytest.fixture
def cache_of(tmp_path: Path, registry: ModelRegistry) -> Iterator[Callable[..., ModelCache]]:
    """Caches on one folder, each as another process has it."""
    made: list[ModelCache] = []

    def make(max_bytes: int = ENOUGH) -> ModelCache:
        made.append(ModelCache(registry, tmp_path / "cache", max_bytes))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


def replace_object(storage: Storage, sha256: str, body: bytes) -> None:
    key = model_file_key("local", sha256)
    storage.delete(key)
    storage.create(key, body, "application/octet-stream")


def files_under(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_version_is_fetched_once_and_passes_the_checks(
    registry: ModelRegistry, storage: Storage, cache_of: Callable[..., ModelCache], tmp_path: Path
) -> None:
    folder = changed_nano(tmp_path / "farm")
    pulses: list[int] = []
    card = publish(registry, "farm", folder)
    found = cache_of().fetch("local", card, lambda: pulses.append(1))
    assert len(pulses) > len(card.sha256)
    assert found == replace(card, base=found.base, controlnet=found.base)
    place = Path(found.base)
    match, mismatch, errors = filecmp.cmpfiles(folder, place, card.sha256, shallow=False)
    assert (len(match), mismatch, errors) == (len(card.sha256), [], [])
    assert files_under(place) == set(card.sha256)
    assert open_checkpoint(found).digest == card.digest
    assert (place / CONTROLNET).samefile(tmp_path / "cache" / "files" / card.sha256[CONTROLNET])

    storage.delete("local/model-files/")  # whatever is fetched again from now on is missed
    assert cache_of().fetch("local", card).base == found.base
    assert not list((tmp_path / "cache" / "partial").iterdir())


def test_shipped_models_are_used_where_they_are(cache_of: Callable[..., ModelCache], tmp_path: Path) -> None:
    assert cache_of().fetch("local", nano_card()) == nano_card()
    assert not (tmp_path / "cache").exists()


def test_versions_share_their_base_and_fetch_only_what_differs(
    registry: ModelRegistry, storage: Storage, cache_of: Callable[..., ModelCache], small: Callable[..., Path]
) -> None:
    one = publish(registry, "farm", small("one", b"one"))
    two = publish(registry, "farm", small("two", b"two"))
    first = cache_of().fetch("local", one)
    storage.delete(model_file_key("local", one.sha256["unet/a.safetensors"]))
    second = cache_of().fetch("local", two)
    bases = [Path(card.base) / "unet" / "a.safetensors" for card in (first, second)]
    assert bases[0].samefile(bases[1])
    assert (Path(second.base) / "controlnet" / "b.safetensors").read_bytes() == b"two"


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(b"bese"), lambda path: path.write_bytes(b"b"), os.unlink]
)
def test_a_damaged_cached_file_is_fetched_again(
    registry: ModelRegistry,
    cache_of: Callable[..., ModelCache],
    small: Callable[..., Path],
    damage: Callable[[Path], object],
) -> None:
    card = publish(registry, "farm", small("one"))
    place = Path(cache_of().fetch("local", card).base)
    damage(place / "unet" / "a.safetensors")
    assert cache_of().fetch("local", card).base == str(place)
    assert (place / "unet" / "a.safetensors").read_bytes() == b"base"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"bas", "model_hash_mismatch"),
        (b"bese", "model_hash_mismatch"),
        (b"base+", "model_hash_mismatch"),
        (None, "model_unavailable"),
    ],
    ids=["truncated", "replaced", "longer", "gone"],
)
def test_an_object_that_is_not_what_was_published_is_refused(
    registry: ModelRegistry,
    storage: Storage,
    cache_of: Callable[..., ModelCache],
    small: Callable[..., Path],
    tmp_path: Path,
    body: bytes | None,
    code: str,
) -> None:
    card = publish(registry, "farm", small("one"))
    sha256 = card.sha256["unet/a.safetensors"]
    if body is None:
        storage.delete(model_file_key("local", sha256))
    else:
        replace_object(storage, sha256, body)
    with pytest.raises(ModelUnavailable) as caught:
        cache_of().fetch("local", card)
    assert caught.value.code == code
    assert "a.safetensors" in caught.value.message
    assert str(tmp_path) not in caught.value.message  # messages reach clients
    assert not (tmp_path / "cache" / "files" / sha256).exists()
    assert not list((tmp_path / "cache" / "partial").iterdir())
    publish(registry, "farm", tmp_path / "one")  # publishing again mends what has another length
    if code == "model_unavailable" or len(body or b"") != len(b"base"):
        assert (Path(cache_of().fetch("local", card).base) / "unet" / "a.safetensors").read_bytes() == b"base"


def test_processes_that_fetch_one_version_at_once_all_get_it_whole(
    registry: ModelRegistry, cache_of: Callable[..., ModelCache], small: Callable[..., Path], tmp_path: Path
) -> None:
    base = os.urandom(3_000_000)
    card = publish(registry, "farm", small("one", base=base))
    caches = [cache_of() for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        places = list(threads.map(lambda cache: cache.fetch("local", card).base, caches))
    assert len(set(places)) == 1
    assert files_under(Path(places[0])) == set(card.sha256)
    assert (Path(places[0]) / "unet" / "a.safetensors").read_bytes() == base
    assert files_under(tmp_path / "cache" / "files") == set(card.sha256.values())
    assert not list((tmp_path / "cache" / "partial").iterdir())


def test_the_versions_that_nobody_uses_go_first_used_first(
    registry: ModelRegistry, cache_of: Callable[..., ModelCache], small: Callable[..., Path], tmp_path: Path
) -> None:
    """Files of 100 bytes, a base of 100 that all share, and room for 450: three versions and no more."""
    cards = [
        publish(registry, "farm", small(str(number), own=bytes([number]) * 100, base=b"b" * 100))
        for number in range(4)
    ]
    used = cache_of(450)  # keeps version 0 in use, the oldest one
    used.fetch("local", cards[0])
    for number, card in enumerate(cards[1:3], start=1):
        cache = cache_of(450)
        cache.fetch("local", card)
        cache.close()
        lock = tmp_path / "cache" / "versions" / f"{card.digest}.in-use"
        os.utime(lock, (1_000_000_000 + number, 1_000_000_000 + number))
    cache_of(450).fetch("local", cards[3])
    kept = [(tmp_path / "cache" / "versions" / str(card.digest)).is_dir() for card in cards]
    assert kept == [True, False, True, True]
    wanted = {
        sha256 for card, there in zip(cards, kept, strict=True) if there for sha256 in card.sha256.values()
    }
    assert files_under(tmp_path / "cache" / "files") == wanted
    used.close()
    cache_of(0).fetch(
        "local", cards[1]
    )  # more than the limit alone: all go but what is needed now, and in use
    kept = [(tmp_path / "cache" / "versions" / str(card.digest)).is_dir() for card in cards]
    assert kept == [False, True, False, True]


FILL = """
import sys
from pathlib import Path
from models.errors import ModelUnavailable
from tests.worker.published import registry_of
from worker.model_cache import ModelCache
from worker.settings import Settings
from worker.storage import Storage
registry = registry_of(Storage(Settings()))
cache = ModelCache(registry, Path(sys.argv[1]), 1 << 30)
try:
    cache.fetch("local", registry.find("local", "farm@1"))
except ModelUnavailable as error:
    print(error.code, error.message)
print(sorted(path.name for path in Path(sys.argv[1], "partial").iterdir()))
"""


def test_a_full_disk_says_so_and_what_to_do(
    registry: ModelRegistry, settings: Settings, small: Callable[..., Path], tmp_path: Path
) -> None:
    publish(registry, "farm", small("one", base=bytes(3_000_000)))
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = 'mount -t tmpfs -o size=1m none "$0" && exec "$1" -c "$2" "$0"'
    unshare = shutil.which("unshare")
    if (
        unshare is None
        or subprocess.run([unshare, "-rm", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this machine lets nobody mount a small disk")
    command = [unshare, "-rm", "sh", "-c", inside, str(disk), sys.executable, FILL]
    env = os.environ | {
        "EARTHSYNTH_S3_ENDPOINT": str(settings.s3_endpoint),
        "EARTHSYNTH_S3_BUCKET": settings.s3_bucket,
        "EARTHSYNTH_S3_ACCESS_KEY": settings.s3_access_key.get_secret_value()
        if settings.s3_access_key
        else "",
        "EARTHSYNTH_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value()
        if settings.s3_secret_key
        else "",
    }
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, left = done.stdout.splitlines()
    assert said.startswith("model_unavailable Model farm@1 needs 3000003 bytes and the disk")
    assert "EARTHSYNTH_MODEL_CACHE_BYTES" in said
    assert left == "[]"


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "executed")


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def only_a_pickle(folder: Path, canary: Path) -> None:
    (folder / CONTROLNET).unlink()
    (folder / "controlnet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Canary(canary)))


def code_of_its_own(folder: Path, canary: Path) -> None:
    (folder / "unet" / "evil.py").write_text(f"open({str(canary)!r}, 'w').write('executed')")
    edit_json(folder / "unet" / "config.json", auto_map={"AutoModel": "evil.Evil"})


def a_foreign_class(folder: Path, canary: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w').write('executed')")
    edit_json(folder / "model_index.json", unet=["evil", "Evil"])


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (only_a_pickle, "weights_pickled"),
        (code_of_its_own, "remote_code_refused"),
        (a_foreign_class, "remote_code_refused"),
    ],
)
def test_what_could_run_code_is_refused_although_it_was_published(
    registry: ModelRegistry,
    settings: Settings,
    tmp_path: Path,
    spoil: Callable[[Path, Path], None],
    code: str,
) -> None:
    folder, canary = changed_nano(tmp_path / "evil"), tmp_path / "canary"
    spoil(folder, canary)
    publish(registry, "evil", folder)
    gpu = Gpu(settings.model_copy(update={"model_cache": tmp_path / "cache"}), registry, lambda: None)
    with pytest.raises(ModelUnavailable) as caught:
        gpu.pipeline("evil@1", "local")
    assert caught.value.code == code
    assert gpu.resident is None
    assert not canary.exists()
    gpu.close()


def test_the_worker_loads_a_published_model_with_the_filter_of_what_it_was_made_from(
    registry: ModelRegistry, settings: Settings, tmp_path: Path
) -> None:
    card = publish(registry, "farm", changed_nano(tmp_path / "farm"))
    own = replace(card, name="wild", version=registry.reserve("local", "wild", "job_1", new_version=False))
    registry.publish("local", own, tmp_path / "farm", provenance("job_1", filter_of=""))
    gpu = Gpu(settings.model_copy(update={"model_cache": tmp_path / "cache"}), registry, lambda: None)
    loaded = gpu.pipeline("farm@1", "local")
    assert gpu.pipeline("farm@1", "local") is loaded
    assert gpu.resident is not None
    assert (gpu.resident.name, gpu.resident.version, gpu.resident.sha256) == ("farm", "1", card.digest)
    assert gpu.filter("farm@1", "local") is gpu.filter("nano@2", "local")
    assert gpu.filter("farm@1", "local").scorers.segmenter is not None
    assert gpu.filter("wild@1", "local").scorers.segmenter is None
    for model, tenant in (("farm@2", "local"), ("farm@1", "theirs")):
        with pytest.raises(ModelUnavailable, match=f"does not offer {model}"):
            gpu.pipeline(model, tenant)
    gpu.close()


def test_thresholds_are_those_of_the_model_it_was_made_from(
    registry: ModelRegistry, settings: Settings, small: Callable[..., Path]
) -> None:
    card: ModelCard = publish(registry, "farm", small("one"))
    assert calibration_of(card, settings) == calibration_of(nano_card(), settings) is not None
    assert calibration_of(replace(card, filter_of=""), settings) is None
