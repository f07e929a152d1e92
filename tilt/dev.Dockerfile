# The image of one service under Tilt: a binary that was built on the developer's machine, and run.sh, which starts newer
# ones. Made in a second, for nothing is compiled; never used outside of development.
#
# The C library must not be older than the one the binary was linked against. Debian 13's is 2.41; on a newer machine give
# another base: tilt up -- --base-image ubuntu:26.04
ARG BASE=debian:trixie-slim
FROM gcr.io/distroless/cc-debian13:nonroot AS certificates

FROM ${BASE}
# A slim image has no authorities, and TLS clients do not start without any.
COPY --from=certificates /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --chmod=0555 run.sh service /opt/tael/
USER 65532:65532
ENTRYPOINT ["/opt/tael/run.sh"]
