# melt_ser in a container (docs/install.md):
#
#   docker build --tag melt_ser .                                                                      for CPUs
#   docker build --tag melt_ser --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .       for GPUs
FROM docker.io/library/debian:bookworm-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=mlflow
RUN apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/melt_ser \
    && /opt/melt_ser/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" torch torchaudio
COPY . /src
RUN /opt/melt_ser/bin/pip install --no-cache-dir "/src[$EXTRAS]" && rm -rf /src
ENV PATH=/opt/melt_ser/bin:/usr/local/bin:/usr/bin:/bin MELT_SER_CACHE=/cache HF_HOME=/cache/huggingface
WORKDIR /work
ENTRYPOINT ["melt-ser"]
CMD ["--help"]
