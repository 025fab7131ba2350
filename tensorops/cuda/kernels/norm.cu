// BatchNorm or a bias, then an optional residual sum and ReLU or ReLU6, fused. The views are equal parts of the rows with
// separate statistics. Each view is split into chunks of rows; the last one may be shorter.
//
// Kernels that iterate over rows have blocks of THREADS threads (x, y): x for groups of LANES channels (of one channel
// if c is not a multiple), y for rows; both are powers of two. Blocks are indexed by (tile of channels, chunk, view).
// Sums of the chunks are in parts [views, chunks, 2, c]. table [views, TABLE, c] has the statistics and coefficients of
// each view's channels; a null table means a bias: mean 0 and factor 1.

enum {
	MEAN,     // of the view, rounded to float
	REST,     // rounding error of MEAN: the mean is MEAN + REST
	VARIANCE, // biased
	FACTOR,   // scale / √(variance + ε)
	OFFSET,   // y = FACTOR·(x - MEAN) + OFFSET
	SLOPE,    // dx = FACTOR·g + SLOPE·(x - MEAN) + CONSTANT
	CONSTANT,
	TABLE
};

#define EPSILON 1e-5

__device__ __forceinline__ size_t entry(int view, int what, int c) { return ((size_t)view * TABLE + what) * c; }

// pick reads V channels of a row of the table.
template <int V> __device__ __forceinline__ void pick(const float *p, float (&v)[V]) {
#pragma unroll
	for (int i = 0; i < V; i++) {
		v[i] = p[i];
	}
}

// range is the work of a thread in a kernel that iterates over rows.
struct range {
	int channel;   // first of the thread's channels; c or more means none
	int from, to;  // rows of the chunk
	size_t first;  // index of the channel's element in row 0 of the view
};

template <int V> __device__ __forceinline__ range find(int rows, int c, int chunkRows) {
	range r;
	r.channel = (int)(blockIdx.x * blockDim.x + threadIdx.x) * V;
	r.from = (int)blockIdx.y * chunkRows;
	r.to = min(r.from + chunkRows, rows);
	r.first = (size_t)blockIdx.z * rows * c + r.channel;
	return r;
}

// number is an int that the compiler knows.
template <int N> struct number {
	enum { value = N };
};

// forRows calls f for a thread's rows of its chunk, N at a time and the rest one at a time, with their number, the index of the
// first one's element and the distance of the others. f should load all before it stores anything: stores might change what is
// loaded after them, so the compiler leaves the order as it is, and each row would wait for the one before.
template <int N, typename F> __device__ __forceinline__ void forRows(const range &r, int c, const F &f) {
	const int apart = (int)blockDim.y;
	int row = r.from + (int)threadIdx.y;
	for (; row + (N - 1) * apart < r.to; row += N * apart) {
		f(number<N>(), r.first + (size_t)row * c, (size_t)apart * c);
	}
	for (; row < r.to; row += apart) {
		f(number<1>(), r.first + (size_t)row * c, (size_t)0);
	}
}

// loadRows reads V channels of N rows.
template <int V, int N>
__device__ __forceinline__ void loadRows(const act *p, size_t apart, packed<V> (&v)[N]) {
#pragma unroll
	for (int j = 0; j < N; j++) {
		v[j] = *(const packed<V> *)(p + j * apart);
	}
}

// writeParts writes a chunk's two sums of each of V channels, first those of one kind.
template <int V>
__device__ __forceinline__ void writeParts(float *parts, const range &r, int c, const float (&sums)[2 * V]) {
	if (r.channel >= c || threadIdx.y > 0) {
		return;
	}
	float *to = parts + ((size_t)blockIdx.z * gridDim.y + blockIdx.y) * 2 * c + r.channel;
#pragma unroll
	for (int i = 0; i < V; i++) {
		to[i] = sums[i];
		to[c + i] = sums[V + i];
	}
}

template <int V>
__device__ __forceinline__ void moments(const act *x, float *parts, int rows, int c, int chunkRows, float *shared) {
	range r = find<V>(rows, c, chunkRows);
	float pivot[V], sums[2 * V] = {}; // of differences from the pivot, and of their squares
	if (r.channel < c) {
		loads<V>(x + r.first + (size_t)r.from * c, pivot);
#pragma unroll 4
		for (int row = r.from + (int)threadIdx.y; row < r.to; row += (int)blockDim.y) {
			float v[V];
			loads<V>(x + r.first + (size_t)row * c, v);
#pragma unroll
			for (int i = 0; i < V; i++) {
				float d = v[i] - pivot[i];
				sums[i] += d;
				sums[V + i] += d * d;
			}
		}
	}
	fold(sums, shared);
	if (r.channel < c) {
		float count = (float)(r.to - r.from);
#pragma unroll
		for (int i = 0; i < V; i++) {
			float squares = sums[V + i] - sums[i] * sums[i] / count;
			sums[V + i] = squares < 0 ? 0 : squares; // NaN stays NaN
			sums[i] = pivot[i] + sums[i] / count;
		}
	}
	writeParts<V>(parts, r, c, sums);
}

// norm_moments computes the mean of each channel of a chunk of x [views·rows, c] and the sum of squared deviations from
// it. It subtracts the chunk's first row, so that a large mean costs no precision.
extern "C" __launch_bounds__(THREADS)
__global__ void norm_moments(const act *x, float *parts, int rows, int c, int chunkRows) {
	__shared__ float shared[2 * LANES * THREADS];
	if (c % LANES == 0) {
		moments<LANES>(x, parts, rows, c, chunkRows, shared);
	} else {
		moments<1>(x, parts, rows, c, chunkRows, shared);
	}
}

// norm_statistics combines the chunks' moments (Chan et al. 1979) and fills the table for the forward pass. It subtracts
// the first chunk's mean. Blocks are indexed by (tile of channels, 0, view). scale and shift [c] may be null.
extern "C" __launch_bounds__(SIDE * SIDE)
__global__ void norm_statistics(const float *parts, float *table, const float *scale,
		const float *shift, int rows, int c, int chunkRows, int chunks) {
	__shared__ double shared[2 * SIDE * SIDE];
	int channel = (int)(blockIdx.x * SIDE + threadIdx.x), view = (int)blockIdx.z;
	int last = channel < c ? chunks : 0;
	parts += (size_t)view * chunks * 2 * c + channel;
	double pivot = last > 0 ? parts[0] : 0, sums[2] = {}; // of differences from the pivot, and of squared ones
#pragma unroll 4
	for (int i = (int)threadIdx.y; i < last; i += SIDE) {
		double d = parts[(size_t)2 * i * c] - pivot, count = min(chunkRows, rows - i * chunkRows);
		sums[0] += d * count;
		sums[1] += parts[(size_t)(2 * i + 1) * c] + d * d * count;
	}
	sumColumns(sums, shared);
	if (channel >= c || threadIdx.y > 0) {
		return;
	}
	double off = sums[0] / rows, mean = pivot + off;
	double variance = sums[1] / rows - off * off;
	variance = variance < 0 ? 0 : variance; // NaN stays NaN
	float center = (float)mean;
	double rest = mean - center;
	double factor = (scale ? scale[channel] : 1) / sqrt(variance + EPSILON);
	table += channel;
	table[entry(view, MEAN, c)] = center;
	table[entry(view, REST, c)] = (float)rest;
	table[entry(view, VARIANCE, c)] = (float)variance;
	table[entry(view, FACTOR, c)] = (float)factor;
	table[entry(view, OFFSET, c)] = (float)((shift ? shift[channel] : 0) - factor * rest);
}

// norm_running fills the table of a single view for the forward pass from running statistics [c]. scale and shift [c]
// may be null.
extern "C" __launch_bounds__(THREADS)
__global__ void norm_running(const float *mean, const float *variance, float *table, const float *scale,
		const float *shift, int c) {
	int channel = (int)(blockIdx.x * THREADS + threadIdx.x);
	if (channel >= c) {
		return;
	}
	table += channel;
	table[entry(0, MEAN, c)] = mean[channel];
	table[entry(0, REST, c)] = 0;
	table[entry(0, VARIANCE, c)] = variance[channel];
	table[entry(0, FACTOR, c)] = (float)((scale ? scale[channel] : 1) / sqrt(variance[channel] + EPSILON));
	table[entry(0, OFFSET, c)] = shift ? shift[channel] : 0;
}

template <int V>
__device__ __forceinline__ void apply(const act *x, const act *residual, act *y, const float *table, const float *shift,
		int rows, int c, int chunkRows, int relu, float top) {
	range r = find<V>(rows, c, chunkRows);
	if (r.channel >= c) {
		return;
	}
	float mean[V], factor[V], offset[V];
#pragma unroll
	for (int i = 0; i < V; i++) {
		mean[i] = 0;
		factor[i] = 1;
		offset[i] = shift ? shift[r.channel + i] : 0;
	}
	if (table) {
		const float *own = table + r.channel;
		pick<V>(own + entry((int)blockIdx.z, MEAN, c), mean);
		pick<V>(own + entry((int)blockIdx.z, FACTOR, c), factor);
		pick<V>(own + entry((int)blockIdx.z, OFFSET, c), offset);
	}
	forRows<4>(r, c, [&](auto n, size_t at, size_t apart) {
		const int N = decltype(n)::value;
		packed<V> in[N], other[N] = {};
		loadRows(x + at, apart, in);
		if (residual) {
			loadRows(residual + at, apart, other);
		}
#pragma unroll
		for (int j = 0; j < N; j++) {
			float v[V], add[V];
			unpack(in[j], v);
			unpack(other[j], add);
#pragma unroll
			for (int i = 0; i < V; i++) {
				v[i] = factor[i] * (v[i] - mean[i]) + offset[i] + add[i];
				v[i] = relu ? rectify(v[i], top) : v[i];
			}
			stores<V>(y + at + j * apart, v);
		}
	});
}

// norm_apply computes y [views·rows, c] from x. residual may be null. table may be null; shift [c], unless null, is
// then added instead. With relu, y is at least 0 and at most top. y may be x.
extern "C" __launch_bounds__(THREADS)
__global__ void norm_apply(const act *x, const act *residual, act *y, const float *table,
		const float *shift, int rows, int c, int chunkRows, int relu, float top) {
	if (c % LANES == 0) {
		apply<LANES>(x, residual, y, table, shift, rows, c, chunkRows, relu, top);
	} else {
		apply<1>(x, residual, y, table, shift, rows, c, chunkRows, relu, top);
	}
}

template <int V>
__device__ __forceinline__ void grad(const act *g1, const act *g2, const act *x, const act *y, act *masked,
		float *parts, const float *table, int rows, int c, int chunkRows, float top, float *shared) {
	range r = find<V>(rows, c, chunkRows);
	float mean[V] = {}, sums[2 * V] = {}; // of g, and of g·(x - MEAN)
	if (r.channel < c) {
		if (table) {
			pick<V>(table + r.channel + entry((int)blockIdx.z, MEAN, c), mean);
		}
		forRows<2>(r, c, [&](auto n, size_t at, size_t apart) {
			const int N = decltype(n)::value;
			packed<V> first[N], second[N] = {}, in[N] = {}, out[N] = {};
			loadRows(g1 + at, apart, first);
			if (table) {
				loadRows(x + at, apart, in);
			}
			if (g2) {
				loadRows(g2 + at, apart, second);
			}
			if (y) {
				loadRows(y + at, apart, out);
			}
#pragma unroll
			for (int j = 0; j < N; j++) {
				float g[V], other[V], v[V], done[V];
				unpack(first[j], g);
				unpack(in[j], v);
				if (masked) {
					unpack(second[j], other);
					unpack(out[j], done);
#pragma unroll
					for (int i = 0; i < V; i++) {
						bool off = y && (done[i] == 0 || done[i] == top);
						g[i] = rounded(off ? 0 : g[i] + other[i]); // sum what is stored
					}
					stores<V>(masked + at + j * apart, g);
				}
#pragma unroll
				for (int i = 0; i < V; i++) {
					sums[i] += g[i];
					sums[V + i] += g[i] * (v[i] - mean[i]);
				}
			}
		});
	}
	fold(sums, shared);
	writeParts<V>(parts, r, c, sums);
}

// norm_grad sums a chunk of the gradient g, and of g·(x - MEAN). If masked is null, g is g1. Otherwise g is g1 + g2
// where y is neither 0 nor top, else 0, and is written to masked; g2 may be null for no second gradient, y for no ReLU.
// All are [views·rows, c]; masked may be any of them.
extern "C" __launch_bounds__(THREADS)
__global__ void norm_grad(const act *g1, const act *g2, const act *x, const act *y,
		act *masked, float *parts, const float *table, int rows, int c, int chunkRows, float top) {
	__shared__ float shared[2 * LANES * THREADS];
	if (c % LANES == 0) {
		grad<LANES>(g1, g2, x, y, masked, parts, table, rows, c, chunkRows, top, shared);
	} else {
		grad<1>(g1, g2, x, y, masked, parts, table, rows, c, chunkRows, top, shared);
	}
}

// norm_gradients adds up the chunks of all views. With g the masked gradient, m the number of rows of a view, f the
// factor and v the variance,
//
//	dshift = Σg, dscale = Σg·(x-mean)/√(v+ε)
//	dx = f·(g - Σg/m - (x-mean)·Σg·(x-mean)/(m·(v+ε)))
//
// It fills the table for the backward pass. table may be null, and so may dscale and dshift [c]. Blocks are indexed by
// tile of channels.
extern "C" __launch_bounds__(SIDE * SIDE)
__global__ void norm_gradients(const float *parts, float *table, float *dscale,
		float *dshift, int rows, int c, int chunks, int views) {
	__shared__ double shared[2 * SIDE * SIDE];
	int channel = (int)(blockIdx.x * SIDE + threadIdx.x);
	int last = channel < c ? chunks : 0;
	double sumScale = 0, sumShift = 0;
	for (int view = 0; view < views; view++) {
		const float *own = parts + (size_t)view * chunks * 2 * c + channel;
		double sums[2] = {};
#pragma unroll 4
		for (int i = (int)threadIdx.y; i < last; i += SIDE) {
			sums[0] += own[(size_t)2 * i * c];
			sums[1] += own[(size_t)(2 * i + 1) * c];
		}
		sumColumns(sums, shared);
		double sum = sums[0], dot = sums[1];
		sumShift += sum;
		if (!table || channel >= c || threadIdx.y > 0) {
			continue;
		}
		float *of = table + channel;
		double rest = of[entry(view, REST, c)];
		double precision = 1 / (of[entry(view, VARIANCE, c)] + EPSILON);
		double factor = of[entry(view, FACTOR, c)];
		dot -= sum * rest; // the sums used the rounded mean
		sumScale += dot * sqrt(precision);
		double slope = -factor * precision * dot / rows;
		of[entry(view, SLOPE, c)] = (float)slope;
		of[entry(view, CONSTANT, c)] = (float)(-slope * rest - factor * sum / rows);
	}
	if (channel >= c || threadIdx.y > 0) {
		return;
	}
	if (dscale) {
		dscale[channel] = (float)sumScale;
	}
	if (dshift) {
		dshift[channel] = (float)sumShift;
	}
}

template <int V>
__device__ __forceinline__ void combine(const act *g, const act *x, act *dx, const float *table, int rows, int c,
		int chunkRows) {
	range r = find<V>(rows, c, chunkRows);
	if (r.channel >= c) {
		return;
	}
	float mean[V], factor[V], slope[V], constant[V];
	const float *own = table + r.channel;
	pick<V>(own + entry((int)blockIdx.z, MEAN, c), mean);
	pick<V>(own + entry((int)blockIdx.z, FACTOR, c), factor);
	pick<V>(own + entry((int)blockIdx.z, SLOPE, c), slope);
	pick<V>(own + entry((int)blockIdx.z, CONSTANT, c), constant);
	forRows<4>(r, c, [&](auto n, size_t at, size_t apart) {
		const int N = decltype(n)::value;
		packed<V> gradient[N], in[N];
		loadRows(g + at, apart, gradient);
		loadRows(x + at, apart, in);
#pragma unroll
		for (int j = 0; j < N; j++) {
			float v[V], u[V];
			unpack(gradient[j], v);
			unpack(in[j], u);
#pragma unroll
			for (int i = 0; i < V; i++) {
				v[i] = factor[i] * v[i] + slope[i] * (u[i] - mean[i]) + constant[i];
			}
			stores<V>(dx + at + j * apart, v);
		}
	});
}

// norm_combine computes dx [views·rows, c] from the masked gradient g and x; dx may be either.
extern "C" __launch_bounds__(THREADS)
__global__ void norm_combine(const act *g, const act *x, act *dx, const float *table,
		int rows, int c, int chunkRows) {
	if (c % LANES == 0) {
		combine<LANES>(g, x, dx, table, rows, c, chunkRows);
	} else {
		combine<1>(g, x, dx, table, rows, c, chunkRows);
	}
}

// norm_copy copies g to dx, for a bias. n is the number of elements.
extern "C" __launch_bounds__(THREADS)
__global__ void norm_copy(const act *g, act *dx, unsigned long long n) {
	size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x;
	if (at < n) {
		dx[at] = g[at];
	}
}
