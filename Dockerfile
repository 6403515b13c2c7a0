# rag-audio serve, or rag-audio worker. Targets: cpu (the default) and cuda.
#
#   docker build -t rag-audio .                       docker build --target cuda -t rag-audio:cuda .
#   docker build --build-arg PACKAGES=ffmpeg -t rag-audio .     reads m4a, WMA, WavPack and video too
#   docker run -p 127.0.0.1:8000:8000 -v rag-audio:/home/rag rag-audio
#
# Nobody but this machine may be served without a key; inside a container everybody is somebody
# else, so make one first:  docker run --rm -v rag-audio:/home/rag rag-audio keys api-make desk

ARG PYTHON=3.11.14

FROM python:${PYTHON}-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Further packages of Debian, such as ffmpeg.
ARG PACKAGES=""
RUN if [ -n "$PACKAGES" ]; then apt-get update && apt-get install -y --no-install-recommends $PACKAGES \
    && rm -rf /var/lib/apt/lists/*; fi
RUN groupadd --gid 10001 rag && useradd --uid 10001 --gid rag --create-home rag
WORKDIR /app

FROM base AS build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY rag_audio rag_audio
COPY indexer indexer
COPY data data
RUN python -m venv /app/.venv && /app/.venv/bin/pip install build && /app/.venv/bin/python -m build --wheel

FROM base AS cuda
# PyPI's torch for Linux brings the CUDA libraries with it; the host brings the driver and
# nvidia-container-toolkit (docker run --gpus all).
COPY constraints.txt ./
COPY --from=build /app/dist/*.whl /tmp/
RUN python -m venv /opt/rag && /opt/rag/bin/pip install -c constraints.txt \
    "$(ls /tmp/*.whl)[serve,postgres,s3]" && rm /tmp/*.whl
ENV PATH=/opt/rag/bin:$PATH RAG_AUDIO_HOME=/home/rag/home RAG_AUDIO_DEVICE=cuda
USER rag
VOLUME /home/rag
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=90s --retries=4 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["rag-audio"]
CMD ["serve", "--host", "0.0.0.0"]

FROM base AS cpu
# The same without the CUDA libraries, from PyTorch's own index for processors.
COPY constraints.txt ./
COPY --from=build /app/dist/*.whl /tmp/
RUN python -m venv /opt/rag \
    && grep -E '^torch==' constraints.txt > /tmp/torch.txt \
    && /opt/rag/bin/pip install --index-url https://download.pytorch.org/whl/cpu -r /tmp/torch.txt \
    && /opt/rag/bin/pip install -c constraints.txt "$(ls /tmp/*.whl)[serve,postgres,s3]" \
    && rm /tmp/*.whl /tmp/torch.txt
ENV PATH=/opt/rag/bin:$PATH RAG_AUDIO_HOME=/home/rag/home RAG_AUDIO_DEVICE=cpu
USER rag
VOLUME /home/rag
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=90s --retries=4 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["rag-audio"]
CMD ["serve", "--host", "0.0.0.0"]
