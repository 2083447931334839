# syntax=docker/dockerfile:1
# One image for every role: `hubbub up` (everything, with an embedded Redis) or `hubbub run api|web|telegram|email|engine`.

ARG PYTHON=3.13-slim-trixie

FROM python:${PYTHON} AS build
# The CPU build of PyTorch is a tenth of the size of the CUDA one; pass an empty value for the default index.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Instructions that every x86-64 server since 2013 has, instead of those of the machine that builds.
ARG CMAKE_ARGS=-DGGML_NATIVE=OFF
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# Dependencies first: this layer is kept while only the code changes.
COPY pyproject.toml constraints.txt assets.txt ./
RUN python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
      print(*project["dependencies"], *project["optional-dependencies"]["postgres"], sep="\n")' > /tmp/dependencies.txt \
    && PIP_EXTRA_INDEX_URL="${TORCH_INDEX}" CMAKE_ARGS="${CMAKE_ARGS}" \
      pip install -c constraints.txt -r /tmp/dependencies.txt \
    && pip install --no-deps -r assets.txt
COPY README.md LICENSE settings.toml ./
COPY docs docs
COPY hub hub
COPY hubbub hubbub
COPY connectors connectors
COPY engine engine
COPY knowledge knowledge
# Editable: the code stays in /app, beside settings.toml and the documents that the assistant answers from.
RUN pip install --no-deps -e . && python -m compileall -q /app

FROM python:${PYTHON}
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libgomp1 redis-server \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin hubbub \
    && install -d -o hubbub -g hubbub -m 0700 /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    HOME=/tmp \
    HUBBUB_DATA=/data \
    HUBBUB_API__HOST=0.0.0.0 \
    HUBBUB_LOG__FORMAT=json
# By number: Kubernetes' runAsNonRoot looks at nothing else.
USER 10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
CMD ["hubbub", "up"]
