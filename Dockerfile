# The image of `runner`: a binary that was built outside, on Debian, as a user without rights.
#
#   cargo build --release
#   docker build --build-arg BINARY=target/release/runner -t runner .
#   docker run --rm -v "$PWD:/project" -w /project runner run pipelines/pull-request.yml
#   docker run -d --restart always -v /etc/runner:/etc/runner:ro -v runner-data:/data runner serve --config /etc/runner/runner.toml
#
# A server in here keeps everything in /data (`data = "/data"`). Its jobs end with the container, and are recorded as that.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git libssl3 openssh-client \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 runner \
 && git config --system safe.directory '*'
ARG BINARY=target/release/runner
COPY ${BINARY} /usr/local/bin/runner
RUN mkdir /data && chown runner: /data && chmod 700 /data
VOLUME /data
USER runner
ENTRYPOINT ["/usr/local/bin/runner"]
