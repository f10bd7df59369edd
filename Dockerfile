# syntax=docker/dockerfile:1
# Two images: `api` without torch, `worker` with it. PyPI's torch brings its own CUDA libraries, so the worker needs
# no CUDA base image, only a host with the NVIDIA driver and container toolkit.
#   docker build --target api -t earthsynth-api .
#   docker build --target worker -t earthsynth-worker .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_CACHE_DIR=/var/cache/pip \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/earthsynth
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY models models
COPY worker worker
COPY app app
COPY deploy deploy
COPY clients/python clients/python

FROM build AS build-api
RUN --mount=type=cache,target=/var/cache/pip \
    /opt/earthsynth/bin/pip install -c constraints.txt ./clients/python .

FROM build AS build-worker
RUN --mount=type=cache,target=/var/cache/pip \
    /opt/earthsynth/bin/pip install -c constraints.txt ./clients/python '.[gpu,export]'

# What both images run as: no root, nothing to write but /tmp, so that `read_only: true` works.
FROM ${PYTHON_IMAGE} AS run
ENV PATH=/opt/earthsynth/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN groupadd --gid 10001 earthsynth \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin earthsynth
WORKDIR /tmp

FROM run AS api
COPY --from=build-api /opt/earthsynth /opt/earthsynth
ENV EARTHSYNTH_HOST=0.0.0.0 \
    EARTHSYNTH_PORT=8000
EXPOSE 8000
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['EARTHSYNTH_PORT']}/livez\", timeout=4)"]
CMD ["earthsynth", "serve"]

FROM run AS worker
COPY --from=build-worker /opt/earthsynth /opt/earthsynth
# Downloaded weights and published models; made here so that a named volume mounted there belongs to the user that runs.
RUN install --directory --owner=10001 --group=10001 /var/cache/huggingface /var/cache/earthsynth
ENV HF_HOME=/var/cache/huggingface \
    EARTHSYNTH_MODEL_CACHE=/var/cache/earthsynth/models \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
VOLUME /var/cache/huggingface /var/cache/earthsynth
USER 10001:10001
# No port to ask: the supervisor restarts a worker that dies or stalls, and GET /v1/workers says how it is.
HEALTHCHECK NONE
CMD ["earthsynth", "work"]
