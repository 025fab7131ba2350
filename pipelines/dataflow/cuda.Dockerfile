# Dataflow's workers with NVIDIA GPUs: cuDNN 9, cuBLAS and NVRTC of CUDA 12, and Beam's boot program. Build it in the
# repository, and give it with --sdk_container_image:
#   docker build -f pipelines/dataflow/cuda.Dockerfile -t REGION-docker.pkg.dev/PROJECT/REPOSITORY/sdr-cuda .
# The program is not in it: every job brings its own. The driver is the machine's.
FROM apache/beam_go_sdk:2.77.0 AS beam
FROM nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=beam /opt/apache/beam /opt/apache/beam
ENV XDG_CACHE_HOME=/tmp/cache
ENTRYPOINT ["/opt/apache/beam/boot"]
