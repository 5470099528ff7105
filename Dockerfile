# The same image as "make image", for those who have Docker: docker build -t vetch .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETARCH
ARG VERSION=devel
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X github.com/vetch-dev/vetch/command.version=$VERSION" -o /out/vetch . && \
    mkdir -p /out/etc /out/tmp /out/var/lib/vetch && chmod 1777 /out/tmp && chmod 750 /out/var/lib/vetch && \
    printf 'root:x:0:0:root:/:/\nvetch:x:65532:65532:vetch:/var/lib/vetch:/\n' >/out/etc/passwd && \
    printf 'root:x:0:\nvetch:x:65532:\n' >/out/etc/group && chown 65532:65532 /out/var/lib/vetch

FROM scratch
ARG VERSION=devel
LABEL org.opencontainers.image.title="vetch" \
      org.opencontainers.image.description="Observability for Kubernetes and plain Linux, without a change to any application" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.source="https://github.com/vetch-dev/vetch" \
      org.opencontainers.image.licenses="Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)"
COPY --from=build /out/ /
# The agent loads kernel programs: it is run with --user 0 --privileged --pid host.
USER 65532:65532
WORKDIR /
EXPOSE 4780
ENTRYPOINT ["/vetch"]
