// k-means: the nearest centroid of each row, and sums of the rows of each centroid. A group of threads has a row; see
// common.cuh. Rows are [rows, width], and clusters and squares are of the same rows.

// FEW is the number of candidates whose distances take about as long as a row's own length.
#define FEW 2

// squaresOfGroup returns the sum of the squares of term(i) for i below n, to all threads of a group. It adds like
// vecs.SquareDistance: element i to sum i % GROUP, the sums by halves, then the elements past the last whole GROUP.
template <typename F> __device__ __forceinline__ double squaresOfGroup(int n, F term) {
	int whole = n - n % GROUP;
	double sum = 0;
	for (int i = (int)threadIdx.x % GROUP; i < whole; i += GROUP) {
		double v = term(i);
		sum = __dadd_rn(sum, __dmul_rn(v, v));
	}
	for (int half = GROUP / 2; half > 0; half /= 2) {
		sum = __dadd_rn(sum, fromLane(sum, half));
	}
	for (int i = whole; i < n; i++) {
		double v = term(i);
		sum = __dadd_rn(sum, __dmul_rn(v, v));
	}
	return sum;
}

// assign_rows sets clusters to each row's nearest centroid of k, and squares, unless null, to its squared distance. It counts
// the rows of each centroid in counts unless null. kernels.Assignment says what low, high, reach and prices [k] are; no row is
// longer than longest.
extern "C" __launch_bounds__(THREADS)
__global__ void assign_rows(const float *products, const float *x, const float *centroids, const float *low, const float *high,
		const float *reach, const double *prices, int *clusters, double *squares, int *counts, int rows, int k, int width, float longest) {
	int row = (int)(blockIdx.x * (THREADS / GROUP) + threadIdx.x / GROUP), lane = (int)threadIdx.x % GROUP;
	if (row >= rows) {
		return;
	}
	const float *p = products + (size_t)row * k;
	x += (size_t)row * width;
	float length = longest, limit;
	int candidates, nearest;
	auto candidate = [&](int j) { return low[j] - p[j] - length * reach[j] <= limit; };
	for (bool own = false;; own = true) {
		limit = -MINUS_INFINITY;
		for (int j = lane; j < k; j += GROUP) {
			limit = fminf(limit, high[j] - p[j] + length * reach[j]);
		}
		for (int half = GROUP / 2; half > 0; half /= 2) {
			limit = fminf(limit, fromLane(limit, half));
		}
		limit += length * length * 0x1p-40f; // bounds the error of half a cost in double
		candidates = nearest = 0;
		for (int j = lane; j < k; j += GROUP) {
			if (candidate(j)) {
				candidates++;
				nearest = j;
			}
		}
		for (int half = GROUP / 2; half > 0; half /= 2) {
			candidates += fromLane(candidates, half);
			nearest = max(nearest, fromLane(nearest, half));
		}
		if (candidates <= FEW || own) {
			break;
		}
		length = (float)(sqrt(squaresOfGroup(width, [=](int i) { return (double)x[i]; })) * (1 + 0x1p-20));
	}
	double square = 0;
	if (candidates != 1 || squares) {
		double least = -MINUS_INFINITY;
		nearest = 0;
		for (int from = 0; from < k; from += GROUP) {
			for (unsigned votes = votesOfGroup(from + lane < k && candidate(from + lane)); votes; votes &= votes - 1) {
				int j = from + __ffs((int)votes) - 1;
				const float *c = centroids + (size_t)j * width;
				double d = squaresOfGroup(width, [=](int i) { return (double)x[i] - (double)c[i]; });
				double cost = __dadd_rn(d, prices[j]);
				if (cost < least) {
					least = cost;
					nearest = j;
					square = d;
				}
			}
		}
	}
	if (lane == 0) {
		clusters[row] = nearest;
		if (squares) {
			squares[row] = square;
		}
		if (counts) {
			atomicAdd(&counts[nearest], 1);
		}
	}
}

// gather_rows copies the rows of x that are listed in order. A block has one row.
extern "C" __launch_bounds__(THREADS)
__global__ void gather_rows(const float *x, const int *order, float *out, int width) {
	size_t from = (size_t)order[blockIdx.x] * width, to = (size_t)blockIdx.x * width;
	for (int j = (int)threadIdx.x; j < width; j += THREADS) {
		out[to + j] = x[from + j];
	}
}

// order_counts replaces counts [k] by the sums of those before. One block.
extern "C" __launch_bounds__(THREADS)
__global__ void order_counts(int *counts, int k) {
	__shared__ int sums[THREADS];
	int each = (k + THREADS - 1) / THREADS, from = (int)threadIdx.x * each, to = min(k, from + each), sum = 0;
	for (int j = from; j < to; j++) {
		sum += counts[j];
	}
	sums[threadIdx.x] = sum;
	__syncthreads();
	int before = 0;
	for (int i = 0; i < (int)threadIdx.x; i++) {
		before += sums[i];
	}
	for (int j = from; j < to; j++) {
		int n = counts[j];
		counts[j] = before;
		before += n;
	}
}

// list_rows lists the rows by cluster, from places [k] on, in no particular order within a cluster.
extern "C" __launch_bounds__(THREADS)
__global__ void list_rows(const int *clusters, int *places, int *list, int rows) {
	int row = (int)(blockIdx.x * THREADS + threadIdx.x);
	if (row < rows) {
		list[atomicAdd(&places[clusters[row]], 1)] = row;
	}
}

// SUMMED is the number of listed rows that a block adds up, LOADED how many of their elements a thread loads before it adds them.
#define SUMMED 128
#define LOADED 8

// fixedPoint multiplies by a scale and rounds to the nearest integer, half to even.
__device__ __forceinline__ long long fixedPoint(double v, double scale) { return __double2ll_rn(__dmul_rn(v, scale)); }

// sum_rows adds listed rows to sums [k, columns] of their clusters; see kernels.FixedSums. It adds the columns from first on.
// Integers add up to the same in any order. Blocks are indexed by rows and by columns, of which a thread has one.
extern "C" __launch_bounds__(THREADS)
__global__ void sum_rows(const float *x, const int *clusters, const double *squares, const float *weights, const int *list,
		unsigned long long *sums, int rows, int width, int first, int columns, double unit, double square, double weight) {
	__shared__ int listed[SUMMED], clusterOf[SUMMED];
	int column = first + (int)(blockIdx.y * THREADS + threadIdx.x), from = (int)blockIdx.x * SUMMED, n = min(SUMMED, rows - from);
	for (int i = (int)threadIdx.x; i < n; i += THREADS) {
		listed[i] = list[from + i];
		clusterOf[i] = clusters[listed[i]];
	}
	__syncthreads();
	if (column >= columns) {
		return;
	}
	long long sum = 0;
	for (int begin = 0; begin < n; begin += LOADED) {
		float loaded[LOADED];
#pragma unroll
		for (int i = 0; i < LOADED; i++) {
			loaded[i] = begin + i < n && column < width ? x[(size_t)listed[begin + i] * width + column] : 0;
		}
#pragma unroll
		for (int i = 0; i < LOADED; i++) {
			int at = begin + i;
			if (at >= n) {
				break;
			}
			int row = listed[at];
			double w = weights ? (double)weights[row] : 1;
			if (column < width) {
				sum += fixedPoint(loaded[i], __dmul_rn(unit, w));
			} else if (column == width) {
				sum += squares ? fixedPoint(__dmul_rn(squares[row], w), square) : 0;
			} else {
				sum += column == width + 1 ? 1 : fixedPoint(w, weight);
			}
			if (at + 1 == n || clusterOf[at + 1] != clusterOf[at]) {
				atomicAdd(&sums[(size_t)clusterOf[at] * columns + column], (unsigned long long)sum);
				sum = 0;
			}
		}
	}
}
