# imglint alone in an image: one static program and the certificate authorities, not run as root.
#   docker build -t imglint .
#   docker run --rm -v "$HOME/.docker/config.json:/config.json:ro" imglint check --registry-auth /config.json IMAGE
FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY rules rules
RUN cargo build --release --locked && strip target/release/imglint && mkdir /empty

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/imglint /imglint
COPY --from=build --chown=65532:65532 /empty /home/imglint
ENV HOME=/home/imglint
USER 65532:65532
WORKDIR /home/imglint
ENTRYPOINT ["/imglint"]
