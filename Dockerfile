# syntax=docker/dockerfile:1
# docker build -t flexvm-exporter --build-arg REVISION="$(git rev-parse HEAD)" \
#     --build-arg CREATED="$(date -u +%Y-%m-%dT%H:%M:%SZ)" .
# Whoever publishes it adds `--label org.opencontainers.image.source=…`.
ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG RUN_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
ARG REVISION=unknown
WORKDIR /src
COPY . .
# Downloads and built dependencies stay with the builder, so that a change of ours compiles only ours.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    FLEXVM_REVISION="${REVISION}" cargo build --release --locked --bin flexvm-exporter \
    && install -D target/release/flexvm-exporter /out/usr/local/bin/flexvm-exporter \
    && install -D -m 644 -t /out/usr/share/doc/flexvm-exporter LICENSE docs/licences.md docs/notices.txt \
    && mkdir /state

FROM ${RUN_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="flexvm-exporter" \
      org.opencontainers.image.description="Prometheus exporter and monthly usage reports for i3D.net FlexVM clouds" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /out/ /
# A new volume takes its owner from here.
COPY --from=build --chown=65532:65532 /state/ /var/lib/flexvm-exporter/
USER 65532:65532
# Ledger and reports lie here with their default names; nothing else is written.
WORKDIR /var/lib/flexvm-exporter
VOLUME /var/lib/flexvm-exporter
EXPOSE 10935
# `health` asks 127.0.0.1:10935, over TLS if nothing else is spoken there.
HEALTHCHECK --interval=30s --timeout=12s --start-period=60s CMD ["/usr/local/bin/flexvm-exporter", "health"]
ENTRYPOINT ["/usr/local/bin/flexvm-exporter"]
