# The page that opens eyes:  docker build -t exgan . && docker run -p 7860:7860 exgan
# With CUDA:                 docker build --build-arg EXTRAS=app,heic,cuda -t exgan .
# Training:                  docker build --build-arg EXTRAS=train,cuda -t exgan .
FROM python:3.12-slim

ARG EXTRAS=app,heic

# Needed by OpenCV and MediaPipe.
RUN apt-get update \
  && apt-get install --no-install-recommends -y libegl1 libgl1 libgles2 libglib2.0-0 \
  && rm -rf /var/lib/apt/lists/*

WORKDIR /exgan_jax
COPY setup.py pyproject.toml README.md LICENSE ./
COPY exgan_jax exgan_jax
COPY tfds_celeb_id tfds_celeb_id
RUN pip install --no-cache-dir ".[${EXTRAS}]" \
  && useradd --create-home exgan

USER exgan
WORKDIR /home/exgan
EXPOSE 7860
HEALTHCHECK --start-period=120s \
  CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860')"
ENTRYPOINT ["exgan"]
CMD ["app", "--host", "0.0.0.0"]
