# Any glibc base with npm and libatomic will do: Node itself comes with the npm packages.
ARG BASE_IMAGE=docker.io/library/node:26-bookworm-slim

# 1. Dependencies, with the npm of the base image; only what the server runs is kept.
FROM ${BASE_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
# Node's headers are for building native modules; there are none.
RUN npm ci --omit=dev && rm -rf node_modules/node-linux-*/include && node_modules/.bin/node --version
COPY bin bin
COPY src src
RUN find src -name '*.test.ts' -delete

# 2. The image: program files owned by root, run by a user that may write to the data volume only.
FROM ${BASE_IMAGE}
ENV PATH=/opt/drift/node_modules/.bin:/usr/local/bin:/usr/bin:/bin \
    DRIFT_BIND_ADDR=0.0.0.0:5000 \
    DRIFT_UI_ADDR=0.0.0.0:5001 \
    DRIFT_FS_ROOT=/var/lib/drift
COPY --from=build /build /opt/drift
RUN mkdir -p /var/lib/drift && chown 65532:65532 /var/lib/drift && chmod 0700 /var/lib/drift
WORKDIR /opt/drift
USER 65532:65532
VOLUME /var/lib/drift
EXPOSE 5000 5001
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
  CMD ["node", "bin/drift.js", "health"]
# No shell in between: signals reach the server.
ENTRYPOINT ["node", "bin/drift.js"]
CMD ["serve"]
