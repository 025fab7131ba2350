// Update a sub-net's weights in place, from the parameters gathered for the step and their gradients: dweights for the
// weights of products, grads for all others. Each block of THREADS threads handles one chunk unless a kernel says
// otherwise.

// gradOf loads the gradient g of a thread's elements of a chunk.
__device__ __forceinline__ void gradOf(const chunk &c, const float *grads, const act *dweights, float (&g)[EACH]) {
	if (c.flags & PRODUCT) {
		each(c, [&](int j, int i) { g[j] = load(dweights[c.offset + i]); });
	} else {
		each(c, [&](int j, int i) { g[j] = grads[c.offset + i]; });
	}
}

// average averages the gradient of a chunk of shared elements with those of the steps before that deferred, and keeps
// their sum if this one does, too.
extern "C" __launch_bounds__(THREADS)
__global__ void average(const chunk *chunks, const step *s, float *grads, act *dweights, float *sums) {
	chunk c = chunks[blockIdx.x];
	if (!isShared(s, c) || (s->steps == 1 && !s->defer)) {
		return;
	}
	int steps = s->steps, defer = s->defer;
	float g[EACH], before[EACH] = {};
	gradOf(c, grads, dweights, g);
	if (steps > 1) {
		each(c, [&](int j, int i) { before[j] = sums[c.offset + i]; });
	}
	each(c, [&](int j, int i) {
		float sum = g[j] + before[j];
		if (defer) {
			sums[c.offset + i] = sum;
		} else if (c.flags & PRODUCT) {
			dweights[c.offset + i] = store(sum / (float)steps);
		} else {
			grads[c.offset + i] = sum / (float)steps;
		}
	});
}

// isDeferred returns whether a step leaves a chunk as it is.
__device__ __forceinline__ bool isDeferred(const step *s, const chunk &c) { return s->defer && isShared(s, c); }

// descend performs a step of SGD with the gradient scaled by scale:
//
//	d = scale·(g + decay·w), v = momentum·v + d
//	w = w - lr·v, with Nesterov w - lr·(d + momentum·v)
__device__ __forceinline__ void descend(const chunk &c, const step *s, const float *params, const float *grads,
		const act *dweights, float scale, float decay, float momentum, int nesterov) {
	if (isDeferred(s, c)) {
		return;
	}
	float *w = weightsOf(s, c), *velocity = stateOf(s, c, 0);
	float lr = s->lr[!inBase(s, c)], a = nesterov ? lr * momentum : lr, b = nesterov ? lr : 0;
	float g[EACH], old[EACH], v[EACH];
	gradOf(c, grads, dweights, g);
	each(c, [&](int j, int i) {
		old[j] = params[c.offset + i];
		v[j] = velocity[i];
	});
	each(c, [&](int j, int i) {
		float d = scale * (g[j] + decay * old[j]), next = momentum * v[j] + d;
		velocity[i] = next;
		w[i] = old[j] - a * next - b * d;
	});
}

// sgd performs a step of SGD.
extern "C" __launch_bounds__(THREADS)
__global__ void sgd(const chunk *chunks, const step *s, const float *params,
		const float *grads, const act *dweights, float momentum, float decay, int nesterov) {
	chunk c = chunks[blockIdx.x]; // a copy, that stores cannot change
	descend(c, s, params, grads, dweights, 1, decay, momentum, nesterov);
}

// lars_norms computes the sums of squares of a chunk's weights and gradient, squares [chunks, 2].
extern "C" __launch_bounds__(THREADS)
__global__ void lars_norms(const chunk *chunks, const float *params, const float *grads,
		const act *dweights, float *squares) {
	__shared__ float shared[THREADS];
	chunk c = chunks[blockIdx.x];
	float weights = 0, gradient = 0;
	float g[EACH], w[EACH];
	gradOf(c, grads, dweights, g);
	each(c, [&](int j, int i) { w[j] = params[c.offset + i]; });
	each(c, [&](int j, int) {
		weights += w[j] * w[j];
		gradient += g[j] * g[j];
	});
	weights = sumBlock(weights, shared);
	gradient = sumBlock(gradient, shared);
	if (threadIdx.x == 0) {
		squares[2 * blockIdx.x] = weights;
		squares[2 * blockIdx.x + 1] = gradient;
	}
}

// firstOf returns the first of n chunks, sorted by tensor, that belongs to the given tensor or a later one.
__device__ __forceinline__ int firstOf(const chunk *chunks, int n, int tensor) {
	int low = 0, high = n;
	while (low < high) {
		int middle = low + (high - low) / 2;
		if (chunks[middle].tensor < tensor) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

// lars_ratios sets ratios [tensors] to trust·|w| / (|g| + decay·|w| + 1e-8), or to 0 if the gradient is 0. Each block
// handles one tensor.
extern "C" __launch_bounds__(THREADS)
__global__ void lars_ratios(const chunk *chunks, int n, const float *squares, float *ratios,
		float trust, float decay) {
	__shared__ double shared[THREADS];
	int tensor = (int)blockIdx.x, to = firstOf(chunks, n, tensor + 1);
	double weights = 0, gradient = 0;
	for (int i = firstOf(chunks, n, tensor) + (int)threadIdx.x; i < to; i += THREADS) {
		weights += squares[2 * i];
		gradient += squares[2 * i + 1];
	}
	weights = sqrt(sumBlock(weights, shared));
	gradient = sqrt(sumBlock(gradient, shared));
	if (threadIdx.x == 0) {
		ratios[tensor] = gradient == 0 ? 0 : (float)(trust * weights / (gradient + decay * weights + 1e-8));
	}
}

// lars performs a step of LARS. Tensors without ADAPT or with a ratio of 0 get SGD without adaptation or weight decay.
extern "C" __launch_bounds__(THREADS)
__global__ void lars(const chunk *chunks, const step *s, const float *params,
		const float *grads, const act *dweights, const float *ratios, float momentum, float decay, int nesterov) {
	chunk c = chunks[blockIdx.x];
	float ratio = c.flags & ADAPT ? ratios[c.tensor] : 0;
	bool adapt = ratio > 0;
	descend(c, s, params, grads, dweights, adapt ? ratio : 1, adapt ? decay : 0, momentum, nesterov);
}

// adamw performs a step of AdamW, with a = 1 - beta1 and b = 1 - beta2; s has the coefficients that depend on the step
// number:
//
//	m += a·(g - m), v += b·(g² - v)
//	w = decay·w - size·m / (√v + root)
extern "C" __launch_bounds__(THREADS)
__global__ void adamw(const chunk *chunks, const step *s, const float *params,
		const float *grads, const act *dweights, float a, float b) {
	chunk c = chunks[blockIdx.x];
	if (isDeferred(s, c)) {
		return;
	}
	float *w = weightsOf(s, c), *first = stateOf(s, c, 0), *second = stateOf(s, c, 1);
	float decay = s->decay[!inBase(s, c)], size = s->size[!inBase(s, c)], root = s->root;
	float g[EACH], old[EACH], m[EACH], v[EACH];
	gradOf(c, grads, dweights, g);
	each(c, [&](int j, int i) {
		old[j] = params[c.offset + i];
		m[j] = first[i];
		v[j] = second[i];
	});
	each(c, [&](int j, int i) {
		m[j] += a * (g[j] - m[j]);
		v[j] += b * (g[j] * g[j] - v[j]);
		first[i] = m[j];
		second[i] = v[j];
		w[i] = decay * old[j] - size * (m[j] / (sqrtf(v[j]) + root));
	});
}
