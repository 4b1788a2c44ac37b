# Two images: `operator` (the Python package with its libraries) and `worker` (the supervisor that
# an init container copies into engine pods, standard library only; and the job that fills caches,
# with libraries of its own that stay in this image).
#
#   buildah bud --target operator -t stoker/operator .      (or docker, podman, kaniko)
#
# Both run on amd64 and arm64: nothing below depends on the machine type, wheels are chosen by it.
# Behind a private package index or certificate authority, pass two optional secrets; they are
# mounted during the build and leave nothing in the image:
#   --secret id=build-env,src=FILE   shell assignments, e.g. UV_DEFAULT_INDEX=https://…
#   --secret id=ca,src=FILE          certificates, seen at /run/secrets/ca
ARG BASE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE} AS tools
ARG UV_VERSION=0.13.8
WORKDIR /src
ENV UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1
RUN --mount=type=secret,id=build-env --mount=type=secret,id=ca \
    set -a; [ ! -f /run/secrets/build-env ] || . /run/secrets/build-env; set +a; \
    python3 -m venv /opt/uv && /opt/uv/bin/pip install -q --no-cache-dir "uv==${UV_VERSION}"
COPY pyproject.toml uv.lock ./

FROM tools AS libraries
ENV UV_PROJECT_ENVIRONMENT=/opt/stoker
RUN --mount=type=secret,id=build-env --mount=type=secret,id=ca \
    set -a; [ ! -f /run/secrets/build-env ] || . /run/secrets/build-env; set +a; \
    /opt/uv/bin/uv sync -q --locked --no-dev --extra operator --no-install-project \
        --python "$(command -v python3)"

FROM tools AS worker-libraries
ENV UV_PROJECT_ENVIRONMENT=/opt/stoker-worker
RUN --mount=type=secret,id=build-env --mount=type=secret,id=ca \
    set -a; [ ! -f /run/secrets/build-env ] || . /run/secrets/build-env; set +a; \
    /opt/uv/bin/uv sync -q --locked --no-dev --extra worker --no-install-project \
        --python "$(command -v python3)"

FROM libraries AS wheel
COPY README.md LICENSE ./
COPY operator/src operator/src
COPY worker/src worker/src
RUN --mount=type=secret,id=build-env --mount=type=secret,id=ca \
    set -a; [ ! -f /run/secrets/build-env ] || . /run/secrets/build-env; set +a; \
    /opt/uv/bin/uv build -q --wheel --out-dir /wheel

# The libraries are a layer of their own: a change of our sources moves a small layer only.
FROM ${BASE} AS operator
ARG TARGETARCH
LABEL org.opencontainers.image.title="stoker" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.architecture="${TARGETARCH}"
COPY --from=libraries /opt/stoker /opt/stoker
# Copied, not mounted: a builder that caches by layers does not look into a mount, and would keep
# yesterday's program under today's tag.
COPY --from=wheel /wheel /opt/stoker/wheel
RUN --mount=type=bind,from=libraries,source=/opt/uv,target=/opt/uv \
    /opt/uv/bin/uv pip install -q --no-cache --offline --no-deps --compile-bytecode \
        --python /opt/stoker/bin/python /opt/stoker/wheel/*.whl
ENV PATH=/opt/stoker/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["stoker"]
CMD ["run"]

FROM ${BASE} AS worker
ARG TARGETARCH
LABEL org.opencontainers.image.title="stoker-worker" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.architecture="${TARGETARCH}"
COPY --from=worker-libraries /opt/stoker-worker /opt/stoker-worker
COPY worker/src/stoker_worker /opt/stoker-worker/src/stoker_worker
ENV PATH=/opt/stoker-worker/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/stoker-worker/src \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["python3", "-m", "stoker_worker"]
CMD ["install", "/stoker-bin"]
