// Pooling of images [batch, size, size, c]. A thread handles LANES channels, or one if c is not a multiple of LANES.

// POOL_THREADS is the number of threads per block.
#define POOL_THREADS 128

// storeArgmax writes V positions in windows.
template <int V> __device__ __forceinline__ void storeArgmax(unsigned char *p, const int (&v)[V]) {
	if constexpr (V == 1) {
		*p = (unsigned char)v[0];
	} else {
		*(unsigned *)p = (unsigned)v[0] | (unsigned)v[1] << 8 | (unsigned)v[2] << 16 | (unsigned)v[3] << 24;
	}
}

// loadArgmax reads V positions in windows.
template <int V> __device__ __forceinline__ void loadArgmax(const unsigned char *p, int (&v)[V]) {
	if constexpr (V == 1) {
		v[0] = *p;
	} else {
		unsigned w = *(const unsigned *)p;
#pragma unroll
		for (int i = 0; i < V; i++) {
			v[i] = (int)(w >> (8 * i) & 0xffu);
		}
	}
}

template <int V>
__device__ __forceinline__ void maxForward(const act *x, act *y, unsigned char *argmax, int size, int out, int c,
		int batch) {
	int groups = c / V, id = (int)(blockIdx.x * POOL_THREADS + threadIdx.x);
	int ox = id / groups, oy = (int)blockIdx.y, channel = id % groups * V;
	if (ox >= out) {
		return;
	}
	for (int image = (int)blockIdx.z; image < batch; image += (int)gridDim.z) {
		const act *own = x + (size_t)image * size * size * c + channel;
		float best[V] = {};
		int arg[V] = {};
		bool first = true;
		for (int tap = 0; tap < 9; tap++) {
			int iy = 2 * oy - 1 + tap / 3, ix = 2 * ox - 1 + tap % 3;
			if (iy < 0 || ix < 0 || iy >= size || ix >= size) {
				continue;
			}
			float v[V];
			loads<V>(own + ((size_t)iy * size + ix) * c, v);
#pragma unroll
			for (int i = 0; i < V; i++) {
				if (first || v[i] > best[i] || v[i] != v[i]) {
					best[i] = v[i];
					arg[i] = tap;
				}
			}
			first = false;
		}
		size_t at = (((size_t)image * out + oy) * out + ox) * c + channel;
		stores<V>(y + at, best);
		if (argmax) {
			storeArgmax<V>(argmax + at, arg);
		}
	}
}

// maxpool_forward computes y [batch, out, out, c], with out = (size-1)/2 + 1, by max-pooling over windows of 3x3 pixels
// of x with stride 2 and padding 1, and sets argmax, unless null, to the positions in the windows. NaN counts as the
// largest value. Blocks of POOL_THREADS threads are indexed by (part of a row of y, row, image); there may be fewer
// blocks than images.
extern "C" __launch_bounds__(POOL_THREADS)
__global__ void maxpool_forward(const act *x, act *y, unsigned char *argmax, int size,
		int out, int c, int batch) {
	if (c % LANES == 0) {
		maxForward<LANES>(x, y, argmax, size, out, c, batch);
	} else {
		maxForward<1>(x, y, argmax, size, out, c, batch);
	}
}

template <int V>
__device__ __forceinline__ void maxBackward(const act *g1, const act *g2, const unsigned char *argmax, act *dx,
		int size, int out, int c, int batch) {
	int groups = c / V, id = (int)(blockIdx.x * POOL_THREADS + threadIdx.x);
	int ix = id / groups, iy = (int)blockIdx.y, channel = id % groups * V;
	if (ix >= size) {
		return;
	}
	for (int image = (int)blockIdx.z; image < batch; image += (int)gridDim.z) {
		float sum[V] = {};
		// All windows that contain the pixel.
		for (int oy = iy / 2; oy <= (iy + 1) / 2 && oy < out; oy++) {
			for (int ox = ix / 2; ox <= (ix + 1) / 2 && ox < out; ox++) {
				size_t at = (((size_t)image * out + oy) * out + ox) * c + channel;
				int tap = (iy - 2 * oy + 1) * 3 + ix - 2 * ox + 1, arg[V];
				float g[V], other[V] = {};
				loadArgmax<V>(argmax + at, arg);
				loads<V>(g1 + at, g);
				if (g2) {
					loads<V>(g2 + at, other);
				}
#pragma unroll
				for (int i = 0; i < V; i++) {
					sum[i] += arg[i] == tap ? g[i] + other[i] : 0;
				}
			}
		}
		stores<V>(dx + (((size_t)image * size + iy) * size + ix) * c + channel, sum);
	}
}

// maxpool_backward computes dx [batch, size, size, c] from the gradient g1 (+ g2 unless null) of y [batch, out, out,
// c]. Blocks are indexed by (part of a row of dx, row, image).
extern "C" __launch_bounds__(POOL_THREADS)
__global__ void maxpool_backward(const act *g1, const act *g2,
		const unsigned char *argmax, act *dx, int size, int out, int c, int batch) {
	if (c % LANES == 0) {
		maxBackward<LANES>(g1, g2, argmax, dx, size, out, c, batch);
	} else {
		maxBackward<1>(g1, g2, argmax, dx, size, out, c, batch);
	}
}

template <int V> __device__ __forceinline__ void avgForward(const act *x, act *y, int pixels, int c, int batch) {
	int groups = c / V;
	unsigned id = blockIdx.x * POOL_THREADS + threadIdx.x;
	int image = (int)(id / groups), channel = (int)(id % groups) * V;
	if (image >= batch) {
		return;
	}
	const act *own = x + (size_t)image * pixels * c + channel;
	float sum[V] = {};
#pragma unroll 4
	for (int p = 0; p < pixels; p++) {
		float v[V];
		loads<V>(own + (size_t)p * c, v);
#pragma unroll
		for (int i = 0; i < V; i++) {
			sum[i] += v[i];
		}
	}
#pragma unroll
	for (int i = 0; i < V; i++) {
		sum[i] /= (float)pixels;
	}
	stores<V>(y + (size_t)image * c + channel, sum);
}

// avgpool_forward sets y [batch, c] to the means of x [batch, pixels, c]. Blocks of POOL_THREADS threads cover batch·c.
extern "C" __launch_bounds__(POOL_THREADS)
__global__ void avgpool_forward(const act *x, act *y, int pixels, int c, int batch) {
	if (c % LANES == 0) {
		avgForward<LANES>(x, y, pixels, c, batch);
	} else {
		avgForward<1>(x, y, pixels, c, batch);
	}
}

template <int V> __device__ __forceinline__ void avgBackward(const act *dy, act *dx, int pixels, int c, int batch) {
	int groups = c / V;
	unsigned id = blockIdx.x * POOL_THREADS + threadIdx.x;
	int image = (int)(id / groups), channel = (int)(id % groups) * V;
	if (image >= batch) {
		return;
	}
	float g[V];
	loads<V>(dy + (size_t)image * c + channel, g);
#pragma unroll
	for (int i = 0; i < V; i++) {
		g[i] /= (float)pixels;
	}
	act *own = dx + (size_t)image * pixels * c + channel;
	for (int p = 0; p < pixels; p++) {
		stores<V>(own + (size_t)p * c, g);
	}
}

// avgpool_backward computes dx [batch, pixels, c] from the gradient dy of y [batch, c].
extern "C" __launch_bounds__(POOL_THREADS)
__global__ void avgpool_backward(const act *dy, act *dx, int pixels, int c, int batch) {
	if (c % LANES == 0) {
		avgBackward<LANES>(dy, dx, pixels, c, batch);
	} else {
		avgBackward<1>(dy, dx, pixels, c, batch);
	}
}
