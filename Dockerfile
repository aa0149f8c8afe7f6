# Tocsin's image: the first stage builds a wheel; the second contains it and Python, without build tools.
FROM python:3.13-slim-trixie AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY tocsin tocsin
COPY collectors collectors
COPY detectors detectors
COPY alerting alerting
COPY dashboards dashboards
COPY recorder recorder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN pip wheel --no-deps --wheel-dir /wheels ./recorder . \
 && python -m venv --without-pip /opt/tocsin \
 && pip --python /opt/tocsin/bin/python install --constraint constraints.txt /wheels/*.whl

FROM python:3.13-slim-trixie
RUN groupadd --gid 10001 tocsin \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/tocsin --shell /usr/sbin/nologin tocsin \
 && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/tocsin
COPY --from=build /opt/tocsin /opt/tocsin
# The root file system may be read-only: numba's compiled code and temporary files are written to /tmp.
ENV PATH=/opt/tocsin/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/tmp/numba \
    TOCSIN_CONFIG=/etc/tocsin/tocsin.yaml
USER 10001:10001
WORKDIR /var/lib/tocsin
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/healthz', timeout=4)"]
ENTRYPOINT ["tocsin"]
CMD ["run"]
