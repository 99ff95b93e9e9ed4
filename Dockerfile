# Two images: `worker` (the default) and `simulator` (for Docker Compose).
#
# Packages are in /opt/venv. /app stays empty, because deployments mount credentials there. Only /tmp
# is written to, so the root file system may be read-only.

FROM python:3.11-slim-bookworm AS base

# The base image has no bytecode of the standard library, and user 1000 cannot write it.
RUN python -m compileall -q -j 0 /usr/local/lib/python3.11 \
    && groupadd --gid 1000 butler \
    && useradd --uid 1000 --gid butler --home-dir /tmp --no-create-home butler \
    # A new volume gets its owner from the folder that it is mounted on.
    && install --directory --owner butler --group butler /repo

ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# An empty folder, because Python and Faust look for packages in the working folder first.
WORKDIR /srv


# pip is not installed in the virtual environment.
FROM base AS build

RUN python -m venv --without-pip /opt/venv

WORKDIR /build

COPY requirements.lock ./
RUN pip --python /opt/venv install --no-cache-dir --require-hashes --requirement requirements.lock


FROM build AS build-worker

# The build system, and what writes the bill of materials.
COPY requirements-build.lock ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements-build.lock

COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY app app
COPY agents agents
COPY client client
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir client/dist ./client \
    && pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/venv install --no-cache-dir --no-deps --no-index dist/*.whl

# The bill of materials: all packages, with their licences.
RUN mkdir -p /opt/venv/share/butler-writer \
    && cyclonedx-py environment --gather-license-texts --pyproject pyproject.toml \
        --output-file /opt/venv/share/butler-writer/sbom.cdx.json /opt/venv/bin/python


FROM build AS build-simulator

COPY requirements-dev.lock ./
RUN pip --python /opt/venv install --no-cache-dir --require-hashes \
    --requirement requirements-dev.lock

# For the demo, which starts its own workers.
COPY --from=build-worker /build/dist /build/client/dist dist/
RUN pip --python /opt/venv install --no-cache-dir --no-deps --no-index dist/*.whl


FROM base AS simulator

COPY --from=build-simulator /opt/venv /opt/venv
COPY simulator simulator
COPY testbed testbed

USER 1000:1000
ENTRYPOINT ["python", "-m", "simulator"]
CMD ["--help"]


FROM base AS worker

# The version is that of pyproject.toml: deploy/release.py prints it.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Butler Writer" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.documentation="https://butler-writer.lsst.io/" \
      org.opencontainers.image.licenses="BSD-3-Clause"

COPY --from=build-worker /opt/venv /opt/venv

USER 1000:1000
EXPOSE 6066
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:6066/livez')"]
ENTRYPOINT ["faust", "-A", "app"]
CMD ["worker"]
