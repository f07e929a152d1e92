# Every image of Tael. All binaries come from one build, so that building the images one after another compiles once:
#
#   docker build --build-arg SERVICE=order --build-arg COMMIT="$(git rev-parse HEAD)" -t tael/order:0.1.0 .
#
# SERVICE is audit, gateway, merchant, notification, order, payment, refund, sandbox, settlement, or tael (the command line).
# Needs BuildKit, which is Docker's default since 23.0 and what `buildah` understands as well.
#
# Builder and runtime are the same Debian, trixie: a binary that was linked against a newer glibc would not start. The
# tags move with security updates. A release that must be built again bit by bit fixes both by digest:
#
#   docker buildx imagetools inspect rust:1.95-trixie --format '{{.Manifest.Digest}}'
#   docker build --build-arg BUILDER=rust:1.95-trixie@sha256:… --build-arg RUNTIME=gcr.io/distroless/cc-debian13:nonroot@sha256:… …
ARG BUILDER=rust:1.95-trixie
ARG RUNTIME=gcr.io/distroless/cc-debian13:nonroot

# No protoc (protox compiles the contracts), no cmake and no clang (aws-lc ships its bindings): the C compiler of this image
# is all that is needed, for aws-lc and mimalloc.
#
# Every RUN begins with `set -eu` and is one chain of `&&`. A SHELL with `-e` would not do: images of the OCI format have no
# place for it, so that buildah leaves it out, and a compilation that failed would give the image of the one before.
FROM ${BUILDER} AS build
WORKDIR /src
# SQL is checked against the descriptions in .sqlx, never against a database.
ENV SQLX_OFFLINE=true \
    CARGO_INCREMENTAL=0 \
    CARGO_TERM_COLOR=never
COPY . .
# Also in `--version` and in the metric `tael_build_info`.
ARG COMMIT=unknown
# Dependencies are cached apart from our sources: their downloads and what was compiled of them stay in cache mounts, which
# belong to the builder and to no image. A change of ours compiles what is ours. (A builder that starts empty every time, as
# some CI does, compiles all of it, once for all images.)
#
# A mirror of crates.io, with its token if it has one, is given as a secret and stays in no layer:
#   docker build --secret id=cargo-config,src=$HOME/.cargo/config.toml …
#
# The images get binaries with the names of functions, for backtraces, but without the line tables, which are larger than
# the code; those go to the target `symbols`.
RUN --mount=type=cache,id=tael-cargo-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=tael-target,target=/src/target,sharing=locked \
    --mount=type=secret,id=cargo-config,target=/usr/local/cargo/config.toml,required=false \
    set -eu && \
    TAEL_COMMIT="${COMMIT}" cargo build --release --locked \
        --package tael \
        --package tael-gateway --package tael-merchant --package tael-notification --package tael-order \
        --package tael-payment --package tael-refund --package tael-sandbox --package tael-settlement --package tael-audit && \
    mkdir -p /out/bin /out/symbols && \
    for name in tael tael-audit tael-gateway tael-merchant tael-notification tael-order \
        tael-payment tael-refund tael-sandbox tael-settlement; do \
        objcopy --only-keep-debug "target/release/${name}" "/out/symbols/${name#tael-}.debug" && \
        objcopy --strip-debug --add-gnu-debuglink="/out/symbols/${name#tael-}.debug" \
            "target/release/${name}" "/out/bin/${name#tael-}" || exit 1; \
    done

# Line tables of a build, to be kept where crashes are read:
#   docker build --target symbols --build-arg COMMIT=… --output symbols/ .
FROM scratch AS symbols
COPY --from=build /out/symbols/ /

# The one that was asked for.
FROM build AS chosen
ARG SERVICE
RUN set -eu && cp "/out/bin/${SERVICE:?--build-arg SERVICE=order, for example, is missing}" /tael-service

# One binary and the C library: no shell, no package manager, nothing to write to. The last stage is the default one.
FROM ${RUNTIME} AS runtime
ARG SERVICE
ARG COMMIT=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="tael/${SERVICE}" \
      org.opencontainers.image.description="Tael, a self-hosted merchant payment platform: ${SERVICE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.licenses="Apache-2.0"
# Under the same name in every image, for an entry point can't contain an argument.
COPY --from=chosen --chmod=0555 /tael-service /usr/local/bin/tael-service
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/tael-service"]
