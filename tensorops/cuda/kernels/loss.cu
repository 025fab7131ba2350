// Losses over the rows of a batch; its first half is one view, its second half the other. Each block of THREADS threads
// handles one row unless a kernel says otherwise.

// FLOOR prevents division by the norm of a zero vector.
#define FLOOR 1e-12f

// loss_mean sets out[0] to the mean of n values. One block.
extern "C" __launch_bounds__(THREADS)
__global__ void loss_mean(const float *values, float *out, int n) {
	__shared__ double shared[THREADS];
	double sum = 0;
	for (int i = (int)threadIdx.x; i < n; i += THREADS) {
		sum += values[i];
	}
	sum = sumBlock(sum, shared);
	if (threadIdx.x == 0) {
		out[0] = (float)(sum / n);
	}
}

// cosine_row handles a row of p [batch, dim] and its target, the other view's row of t. With unit vectors u and v of
// both, values[row] = -u·v, and its gradient with respect to p is (u·(u·v) - v) / |p|. It sets dp [batch, dim] to
// weight/batch times that, or adds it if accumulate.
extern "C" __launch_bounds__(THREADS)
__global__ void cosine_row(const act *p, const act *t, act *dp, float *values, int batch,
		int dim, float weight, int accumulate) {
	__shared__ float shared[THREADS];
	int row = (int)blockIdx.x;
	p += (size_t)row * dim;
	t += (size_t)((row + batch / 2) % batch) * dim;
	dp += (size_t)row * dim;
	float pp = 0, tt = 0, pt = 0;
	for (int j = (int)threadIdx.x; j < dim; j += THREADS) {
		float u = load(p[j]), v = load(t[j]);
		pp += u * u;
		tt += v * v;
		pt += u * v;
	}
	float np = fmaxf(sqrtf(sumBlock(pp, shared)), FLOOR);
	float nt = fmaxf(sqrtf(sumBlock(tt, shared)), FLOOR);
	float cosine = sumBlock(pt, shared) / np / nt;
	if (threadIdx.x == 0) {
		values[row] = -cosine;
	}
	float scale = weight / batch, a = scale * cosine / np / np, b = -scale / np / nt;
	for (int j = (int)threadIdx.x; j < dim; j += THREADS) {
		float d = a * load(p[j]) + b * load(t[j]);
		dp[j] = store(accumulate ? load(dp[j]) + d : d);
	}
}

// direction_normalize writes the normalized rows of z to unit [batch, dim], and their norms to norms [batch] unless
// null.
extern "C" __launch_bounds__(THREADS)
__global__ void direction_normalize(const act *z, act *unit, float *norms, int dim) {
	__shared__ float shared[THREADS];
	size_t row = blockIdx.x;
	z += row * dim;
	unit += row * dim;
	float sum = 0;
	for (int j = (int)threadIdx.x; j < dim; j += THREADS) {
		float v = load(z[j]);
		sum += v * v;
	}
	float norm = fmaxf(sqrtf(sumBlock(sum, shared)), FLOOR);
	if (norms && threadIdx.x == 0) {
		norms[row] = norm;
	}
	for (int j = (int)threadIdx.x; j < dim; j += THREADS) {
		unit[j] = store(load(z[j]) / norm);
	}
}

// direction_project sets dz [batch, dim] to scale times the gradient of the rows of z, computed from dunit [batch,
// dim], that of the normalized rows, or adds it if accumulate.
extern "C" __launch_bounds__(THREADS)
__global__ void direction_project(const act *z, const float *norms, const float *dunit, act *dz,
		int dim, float scale, int accumulate) {
	__shared__ float shared[THREADS];
	size_t row = blockIdx.x;
	z += row * dim;
	dunit += row * dim;
	dz += row * dim;
	float norm = norms[row], dot = 0;
	for (int j = (int)threadIdx.x; j < dim; j += THREADS) {
		dot += load(z[j]) / norm * dunit[j];
	}
	dot = sumBlock(dot, shared);
	for (int j = (int)threadIdx.x; j < dim; j += THREADS) {
		float d = scale / norm * (dunit[j] - load(z[j]) / norm * dot);
		dz[j] = store(accumulate ? load(dz[j]) + d : d);
	}
}

// contrast_row writes a row's loss term to values and replaces its similarities, sims [batch, batch + queue], by the
// term's gradient (softmax - one-hot)·inv; inv is 1 / temperature. Among the first batch columns, the other view's is
// the one to identify. The other candidates are the queue or, if it is empty, these columns without the row itself.
extern "C" __launch_bounds__(THREADS)
__global__ void contrast_row(float *sims, float *values, int batch, int queue, float inv) {
	__shared__ float shared[THREADS];
	int row = (int)blockIdx.x, target = (row + batch / 2) % batch, n = batch + queue;
	float *s = sims + (size_t)row * n;
	auto candidate = [=](int k) { return queue ? k >= batch || k == target : k != row; };
	float top = MINUS_INFINITY;
	for (int k = (int)threadIdx.x; k < n; k += THREADS) {
		top = candidate(k) ? fmaxf(top, s[k]) : top;
	}
	top = maxBlock(top, shared);
	float logit = s[target], sum = 0;
	for (int k = (int)threadIdx.x; k < n; k += THREADS) {
		sum += candidate(k) ? expf((s[k] - top) * inv) : 0;
	}
	sum = sumBlock(sum, shared);
	if (threadIdx.x == 0) {
		values[row] = (top - logit) * inv + logf(sum);
	}
	float normalize = inv / sum;
	for (int k = (int)threadIdx.x; k < n; k += THREADS) {
		float e = candidate(k) ? expf((s[k] - top) * inv) * normalize : 0;
		s[k] = k == target ? e - inv : e;
	}
}

#define TILE 32

// ntxent_symmetrize sets out to grads [batch, batch] plus its transpose, because each similarity occurs in two rows.
// Blocks of TILE x THREADS/TILE threads are indexed by tile (column, row).
extern "C" __launch_bounds__(THREADS)
__global__ void ntxent_symmetrize(const float *grads, act *out, int batch) {
	__shared__ float tile[TILE][TILE + 1]; // padded by one to avoid bank conflicts between columns
	int column = (int)(blockIdx.x * TILE + threadIdx.x), row = (int)(blockIdx.y * TILE + threadIdx.x);
	for (int i = (int)threadIdx.y; i < TILE; i += THREADS / TILE) {
		int mirrored = (int)blockIdx.x * TILE + i;
		tile[i][threadIdx.x] = mirrored < batch && row < batch ? grads[(size_t)mirrored * batch + row] : 0;
	}
	__syncthreads();
	for (int i = (int)threadIdx.y; i < TILE; i += THREADS / TILE) {
		int r = (int)blockIdx.y * TILE + i;
		if (r < batch && column < batch) {
			size_t at = (size_t)r * batch + column;
			out[at] = store(grads[at] + tile[threadIdx.x][i]);
		}
	}
}

// collapse_norms sets norms [n] to the norms of the rows of z [n, dim].
extern "C" __launch_bounds__(THREADS)
__global__ void collapse_norms(const act *z, float *norms, int dim) {
	__shared__ float shared[THREADS];
	z += (size_t)blockIdx.x * dim;
	float sum = 0;
	for (int j = (int)threadIdx.x; j < dim; j += THREADS) {
		float v = load(z[j]);
		sum += v * v;
	}
	sum = sumBlock(sum, shared);
	if (threadIdx.x == 0) {
		norms[blockIdx.x] = fmaxf(sqrtf(sum), FLOOR);
	}
}

// collapse_std sets stds [dim] to the standard deviations of the normalized rows of z [n, dim]. Sums are in double,
// because close to collapse all rows are alike. Blocks of SIDE x SIDE threads, x for dimensions, y for rows, are
// indexed by tile of dimensions.
extern "C" __launch_bounds__(SIDE * SIDE)
__global__ void collapse_std(const act *z, const float *norms, float *stds, int n, int dim) {
	__shared__ double shared[2 * SIDE * SIDE];
	int j = (int)(blockIdx.x * SIDE + threadIdx.x);
	double sums[2] = {}; // of values, and of their squares
	for (int i = (int)threadIdx.y; i < n && j < dim; i += SIDE) {
		double u = (double)load(z[(size_t)i * dim + j]) / norms[i];
		sums[0] += u;
		sums[1] += u * u;
	}
	sumColumns(sums, shared);
	if (j < dim && threadIdx.y == 0) {
		stds[j] = (float)sqrt(fmax(0.0, sums[1] - sums[0] * sums[0] / n) / max(1, n - 1));
	}
}
