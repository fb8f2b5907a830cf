# syntax=docker/dockerfile:1
ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG RUN_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
ARG REVISION=unknown
WORKDIR /src
COPY . .
RUN FLEXVM_REVISION="${REVISION}" cargo build --release --locked --bin flexvm-exporter

FROM ${RUN_IMAGE}
LABEL org.opencontainers.image.title="flexvm-exporter" \
      org.opencontainers.image.description="Prometheus exporter and monthly usage reports for i3D.net FlexVM clouds" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /src/target/release/flexvm-exporter /usr/local/bin/flexvm-exporter
USER 65532:65532
WORKDIR /var/lib/flexvm-exporter
VOLUME /var/lib/flexvm-exporter
EXPOSE 10935
HEALTHCHECK --interval=30s --timeout=6s CMD ["/usr/local/bin/flexvm-exporter", "health"]
ENTRYPOINT ["/usr/local/bin/flexvm-exporter"]
