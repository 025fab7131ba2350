// Assignments of rows to prototypes, and the loss of predicting them. scores [batch, n] are the cosine similarities of
// the rows of a batch, whose first half is one view, and n prototypes.

// prototype_normalize normalizes the columns of params [dim, n] and writes them to weights, too. Blocks of SIDE x SIDE
// threads, x for columns, y for rows, are indexed by tile of columns.
extern "C" __launch_bounds__(SIDE * SIDE)
__global__ void prototype_normalize(float *params, act *weights, int dim, int n) {
	__shared__ double shared[SIDE * SIDE];
	int k = (int)(blockIdx.x * SIDE + threadIdx.x);
	double squares = 0;
	for (int j = (int)threadIdx.y; j < dim && k < n; j += SIDE) {
		double w = params[(size_t)j * n + k];
		squares += w * w;
	}
	float norm = fmaxf((float)sqrt(sumColumns(squares, shared)), FLOOR);
	for (int j = (int)threadIdx.y; j < dim && k < n; j += SIDE) {
		size_t at = (size_t)j * n + k;
		float w = params[at] / norm;
		params[at] = w;
		weights[at] = store(w);
	}
}

// tendency returns exp((score - 1) / epsilon); inv is 1 / epsilon. A common factor makes no difference to assignments.
__device__ __forceinline__ float tendency(float score, float inv) { return expf((score - 1) * inv); }

// swapped_prototypes sets u [2, n] to the factors with which a view's assignments to each prototype add up to 1, given
// the rows' factors v [batch], or 1 if first. Blocks of SIDE x SIDE threads, x for prototypes, y for rows, are indexed
// by (tile of prototypes, 0, view).
extern "C" __launch_bounds__(SIDE * SIDE)
__global__ void swapped_prototypes(const float *scores, const float *v, float *u, int batch, int n, float inv,
		int first) {
	__shared__ double shared[SIDE * SIDE];
	int k = (int)(blockIdx.x * SIDE + threadIdx.x), view = (int)blockIdx.z, rows = batch / 2;
	double sum = 0;
	for (int i = (int)threadIdx.y; i < rows && k < n; i += SIDE) {
		int row = view * rows + i;
		float e = tendency(scores[(size_t)row * n + k], inv);
		sum += first ? e : v[row] * e;
	}
	sum = sumColumns(sum, shared);
	if (k < n && threadIdx.y == 0) {
		u[(size_t)view * n + k] = (float)(1 / sum);
	}
}

// swapped_rows sets v [batch] to the factors with which each row's assignments add up to 1, given u. Each block of
// THREADS threads handles one row.
extern "C" __launch_bounds__(THREADS)
__global__ void swapped_rows(const float *scores, const float *u, float *v, int batch, int n, float inv) {
	__shared__ float shared[THREADS];
	int row = (int)blockIdx.x;
	scores += (size_t)row * n;
	u += (size_t)(2 * row / batch) * n;
	float sum = 0;
	for (int k = (int)threadIdx.x; k < n; k += THREADS) {
		sum += tendency(scores[k], inv) * u[k];
	}
	sum = sumBlock(sum, shared);
	if (threadIdx.x == 0) {
		v[row] = 1 / sum;
	}
}

// swapped_loss writes a row's loss term to values and sets its grads [batch, n] to scale times the term's gradient,
// (softmax - assignments)·inv; inv is 1 / temperature. The assignments are the other view's. Each block of THREADS
// threads handles one row.
extern "C" __launch_bounds__(THREADS)
__global__ void swapped_loss(const float *scores, const float *u, const float *v, act *grads, float *values, int batch,
		int n, float inv, float invEpsilon, float scale) {
	__shared__ float shared[THREADS];
	int row = (int)blockIdx.x, other = (row + batch / 2) % batch;
	const float *s = scores + (size_t)row * n, *t = scores + (size_t)other * n;
	u += (size_t)(2 * other / batch) * n;
	grads += (size_t)row * n;
	float top = MINUS_INFINITY, factor = v[other];
	for (int k = (int)threadIdx.x; k < n; k += THREADS) {
		top = fmaxf(top, s[k]);
	}
	top = maxBlock(top, shared);
	float sum = 0, logit = 0; // logit is what the assignments expect, less top
	for (int k = (int)threadIdx.x; k < n; k += THREADS) {
		sum += expf((s[k] - top) * inv);
		logit += factor * tendency(t[k], invEpsilon) * u[k] * (s[k] - top);
	}
	sum = sumBlock(sum, shared);
	logit = sumBlock(logit, shared);
	if (threadIdx.x == 0) {
		values[row] = logf(sum) - logit * inv;
	}
	for (int k = (int)threadIdx.x; k < n; k += THREADS) {
		float p = expf((s[k] - top) * inv) / sum, q = factor * tendency(t[k], invEpsilon) * u[k];
		grads[k] = store(scale * inv * (p - q));
	}
}
