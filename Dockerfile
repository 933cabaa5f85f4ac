# edgekeeper and its dependencies, as the lock has them. It holds no settings and no secrets: these come from outside.
# Built with: docker build --tag edgekeeper .
FROM python:3.11-slim

ENV DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    EDGEKEEPER_HOME=/var/lib/edgekeeper

# The source stays where it is installed from: Prefect loads the flows by their path below this directory.
WORKDIR /opt/edgekeeper
COPY requirements.lock ./
RUN pip install --no-deps --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY checks checks
COPY tasks tasks
COPY flows flows
COPY edgekeeper edgekeeper
COPY sandbox sandbox
COPY sql sql
RUN pip install --no-deps --no-build-isolation --editable .

# Runs, reports and what is kept aside: mount something lasting here, or set EDGEKEEPER_HOME to a URL.
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/edgekeeper edgekeeper \
    && chmod 0700 /var/lib/edgekeeper
USER 10001
VOLUME ["/var/lib/edgekeeper"]

# No entry point: a Prefect worker starts a flow run with a command of its own.
CMD ["edgekeeper", "--help"]
