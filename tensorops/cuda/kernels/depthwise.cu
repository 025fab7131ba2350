// Depthwise convolutions of images [n, h, wd, c] to [n, outH, outW, c] with kh·kw taps per channel. Weights are [c, kh, kw].
// Strides are powers of two: 1 << shift.
//
// Blocks have THREADS threads (x, y): x for groups of LANES channels (of one channel if c is not a multiple), y for pixels;
// both are powers of two. Blocks are indexed by (tile of channels, chunk of pixels), those of the weights' gradient also by
// the taps that they sum.

// DEPTHWISE_TAPS is the most taps per channel, and DEPTHWISE_CHANNELS the most channels per block.
#define DEPTHWISE_TAPS 49
#define DEPTHWISE_CHANNELS 128

// DEPTHWISE_ROW is the number of adjacent taps whose gradients a thread sums at once.
#define DEPTHWISE_ROW 3

// depthwise_shape is what all kernels need to know.
struct depthwise_shape {
	int h, wd, outH, outW, c, kh, kw, shift, pad;
};

// source returns the place, among size, that is multiplied by tap to compute the place at of the result; -1 if there is
// none. BACK exchanges the roles of images and results.
template <bool BACK> __device__ __forceinline__ int source(int at, int tap, int size, const depthwise_shape &s) {
	int from = BACK ? at + s.pad - tap : (at << s.shift) - s.pad + tap;
	if (BACK) {
		if (from & ((1 << s.shift) - 1)) {
			return -1;
		}
		from >>= s.shift;
	}
	return from < 0 || from >= size ? -1 : from;
}

// slide computes a chunk of y from x and the weights; with BACK, y is the gradient of the images and x that of the results.
// taps has DEPTHWISE_TAPS·DEPTHWISE_CHANNELS floats.
template <int V, bool BACK>
__device__ __forceinline__ void slide(const act *x, const act *w, act *y, const depthwise_shape &s, int pixels, int chunk,
		float *taps) {
	int wide = (int)blockDim.x * V, first = (int)blockIdx.x * wide, count = s.kh * s.kw;
	int id = (int)(threadIdx.y * blockDim.x + threadIdx.x);
	for (int i = id; i < wide * count; i += THREADS) {
		int channel = i / count;
		taps[i % count * wide + channel] = first + channel < s.c ? load(w[(size_t)first * count + i]) : 0;
	}
	__syncthreads();
	int own = (int)threadIdx.x * V, channel = first + own;
	if (channel >= s.c) {
		return;
	}
	int rows = BACK ? s.h : s.outH, cols = BACK ? s.wd : s.outW;
	int inRows = BACK ? s.outH : s.h, inCols = BACK ? s.outW : s.wd;
	int from = (int)blockIdx.y * chunk, to = min(from + chunk, pixels);
	for (int at = from + (int)threadIdx.y; at < to; at += (int)blockDim.y) {
		int col = at % cols, row = at / cols % rows, image = at / cols / rows;
		float sum[V] = {};
		for (int i = 0; i < s.kh; i++) {
			int inRow = source<BACK>(row, i, inRows, s);
			if (inRow < 0) {
				continue;
			}
			const act *line = x + ((size_t)image * inRows + inRow) * inCols * s.c + channel;
			for (int j = 0; j < s.kw; j++) {
				int inCol = source<BACK>(col, j, inCols, s);
				if (inCol < 0) {
					continue;
				}
				float v[V];
				loads<V>(line + (size_t)inCol * s.c, v);
				const float *tap = taps + (i * s.kw + j) * wide + own;
#pragma unroll
				for (int k = 0; k < V; k++) {
					sum[k] += v[k] * tap[k];
				}
			}
		}
		stores<V>(y + (size_t)at * s.c + channel, sum);
	}
}

// depthwise_forward computes y [n, outH, outW, c] from the images x and the weights w. pixels are those of y.
extern "C" __launch_bounds__(THREADS)
__global__ void depthwise_forward(const act *x, const act *w, act *y, int h, int wd, int outH, int outW, int c, int kh,
		int kw, int shift, int pad, int pixels, int chunk) {
	__shared__ float taps[DEPTHWISE_TAPS * DEPTHWISE_CHANNELS];
	depthwise_shape s = {h, wd, outH, outW, c, kh, kw, shift, pad};
	if (c % LANES == 0) {
		slide<LANES, false>(x, w, y, s, pixels, chunk, taps);
	} else {
		slide<1, false>(x, w, y, s, pixels, chunk, taps);
	}
}

// depthwise_data computes the gradient dx [n, h, wd, c] of the images from the gradient dy of the results. pixels are those
// of dx.
extern "C" __launch_bounds__(THREADS)
__global__ void depthwise_data(const act *dy, const act *w, act *dx, int h, int wd, int outH, int outW, int c, int kh,
		int kw, int shift, int pad, int pixels, int chunk) {
	__shared__ float taps[DEPTHWISE_TAPS * DEPTHWISE_CHANNELS];
	depthwise_shape s = {h, wd, outH, outW, c, kh, kw, shift, pad};
	if (c % LANES == 0) {
		slide<LANES, true>(dy, w, dx, s, pixels, chunk, taps);
	} else {
		slide<1, true>(dy, w, dx, s, pixels, chunk, taps);
	}
}

template <int V>
__device__ __forceinline__ void tapSums(const act *x, const act *dy, float *parts, const depthwise_shape &s, int pixels,
		int chunk, float *shared) {
	int channel = (int)(blockIdx.x * blockDim.x + threadIdx.x) * V;
	int each = (s.kw + DEPTHWISE_ROW - 1) / DEPTHWISE_ROW; // blocks per row of the kernel
	int tapRow = (int)blockIdx.z / each, tapCol = (int)blockIdx.z % each * DEPTHWISE_ROW;
	float sums[DEPTHWISE_ROW][V] = {};
	if (channel < s.c) {
		int from = (int)blockIdx.y * chunk, to = min(from + chunk, pixels);
		for (int at = from + (int)threadIdx.y; at < to; at += (int)blockDim.y) {
			int col = at % s.outW, row = at / s.outW % s.outH, image = at / s.outW / s.outH;
			int inRow = source<false>(row, tapRow, s.h, s);
			if (inRow < 0) {
				continue;
			}
			float g[V];
			loads<V>(dy + (size_t)at * s.c + channel, g);
			const act *line = x + ((size_t)image * s.h + inRow) * s.wd * s.c + channel;
#pragma unroll
			for (int j = 0; j < DEPTHWISE_ROW; j++) {
				int inCol = source<false>(col, tapCol + j, s.wd, s);
				if (inCol < 0 || tapCol + j >= s.kw) {
					continue;
				}
				float v[V];
				loads<V>(line + (size_t)inCol * s.c, v);
#pragma unroll
				for (int k = 0; k < V; k++) {
					sums[j][k] += v[k] * g[k];
				}
			}
		}
	}
#pragma unroll
	for (int j = 0; j < DEPTHWISE_ROW; j++) {
		fold<V>(sums[j], shared);
		if (channel >= s.c || threadIdx.y > 0 || tapCol + j >= s.kw) {
			continue;
		}
		float *to = parts + ((size_t)blockIdx.y * s.c + channel) * s.kh * s.kw + tapRow * s.kw + tapCol + j;
#pragma unroll
		for (int k = 0; k < V; k++) {
			to[k * s.kh * s.kw] = sums[j][k];
		}
	}
}

// depthwise_weights computes parts [chunks, c, kh, kw] of the weights' gradient from the images x and the gradient dy of the
// results. pixels are those of dy. conv_sum adds up the parts.
extern "C" __launch_bounds__(THREADS)
__global__ void depthwise_weights(const act *x, const act *dy, float *parts, int h, int wd, int outH, int outW, int c,
		int kh, int kw, int shift, int pad, int pixels, int chunk) {
	__shared__ float shared[LANES * THREADS];
	depthwise_shape s = {h, wd, outH, outW, c, kh, kw, shift, pad};
	if (c % LANES == 0) {
		tapSums<LANES>(x, dy, parts, s, pixels, chunk, shared);
	} else {
		tapSums<1>(x, dy, parts, s, pixels, chunk, shared);
	}
}
