// Where the weights of sub-nets are stored, and how products and norms get them.

// CHUNK is the largest number of elements of a chunk.
#define CHUNK 1024

// chunk is a range of a network's flat parameter vector that is contiguous in memory. In Go: chunk.
struct chunk {
	int offset; // in the flat vector
	int count;  // number of elements, at most CHUNK
	int tensor; // index of its tensor
	int flags;  // PRODUCT, ADAPT
	int level;  // level of its group; -1 if shared by all sub-nets
	int pos;    // in the group
};

#define PRODUCT 1 // weight of a product, whose gradient is in activations
#define ADAPT 2   // LARS adapts the learning rate

#define LEVELS 4

// step says which sub-net is trained, and how. In Go: step.
struct step {
	float lr[2];             // of elements in base, and in groups
	float size[2], decay[2]; // coefficients of AdamW, the same
	float root;              // another one
	int levels;              // number of levels at which the sub-net has a group; other elements are in base
	int split;               // number of levels that have split; elements of other levels are shared, too
	int steps;               // number of steps, with this one, whose gradients of shared elements are averaged
	int defer;               // 1 if a later step updates the shared elements
	int vectors;             // number of state vectors
	int params;              // elements of base and of each of its state vectors
	float momentum;          // of the target network, or of a teacher
	unsigned long long base, state;                       // addresses of floats [params] and [vectors, params]
	unsigned long long memory;                            // address of floats, the sub-net's memory
	unsigned long long group[LEVELS], groupState[LEVELS]; // [groupSize] and [vectors, groupSize]
	int groupSize[LEVELS];
};

__device__ __forceinline__ bool inBase(const step *s, const chunk &c) { return c.level < 0 || c.level >= s->levels; }

__device__ __forceinline__ bool isShared(const step *s, const chunk &c) { return c.level < 0 || c.level >= s->split; }

// weightsOf returns the address of a chunk's weights.
__device__ __forceinline__ float *weightsOf(const step *s, const chunk &c) {
	if (inBase(s, c)) {
		return (float *)s->base + c.offset;
	}
	return (float *)s->group[c.level] + c.pos;
}

// stateOf returns the address of a chunk's part of state vector k.
__device__ __forceinline__ float *stateOf(const step *s, const chunk &c, int k) {
	if (inBase(s, c)) {
		return (float *)s->state + (size_t)k * s->params + c.offset;
	}
	return (float *)s->groupState[c.level] + (size_t)k * s->groupSize[c.level] + c.pos;
}

// vectorOf returns the address of a chunk's part of state vector 0, 1, ... or, if k is negative, of its weights.
__device__ __forceinline__ float *vectorOf(const step *s, const chunk &c, int k) {
	return k < 0 ? weightsOf(s, c) : stateOf(s, c, k);
}

// EACH is the number of elements of a chunk that a thread handles.
#define EACH (CHUNK / THREADS)

// each calls f with the number and the index of each of a thread's elements of a chunk. Kernels first load all of them, then
// store, so that a thread waits for memory once.
template <typename F> __device__ __forceinline__ void each(const chunk &c, const F &f) {
#pragma unroll
	for (int j = 0; j < EACH; j++) {
		int i = j * THREADS + (int)threadIdx.x;
		if (i < c.count) {
			f(j, i);
		}
	}
}

// gather copies the sub-net's weights, or state vector 0, 1, ..., to a network: to params, and to weights unless null.
// Each block copies one chunk.
extern "C" __launch_bounds__(THREADS)
__global__ void gather(const chunk *chunks, const step *s, int vector, float *params, act *weights) {
	chunk c = chunks[blockIdx.x];
	const float *from = vectorOf(s, c, vector);
	float v[EACH];
	each(c, [&](int j, int i) { v[j] = from[i]; });
	each(c, [&](int j, int i) {
		params[c.offset + i] = v[j];
		if (weights) {
			weights[c.offset + i] = store(v[j]);
		}
	});
}

// follow updates a vector of a sub-net by EMA of the weights of another or of the same one. Each block handles one chunk.
extern "C" __launch_bounds__(THREADS)
__global__ void follow(const chunk *chunks, const step *s, int vector, const step *of) {
	chunk c = chunks[blockIdx.x];
	const float *w = weightsOf(of, c);
	float *to = vectorOf(s, c, vector);
	float momentum = s->momentum, old[EACH], v[EACH];
	each(c, [&](int j, int i) {
		old[j] = to[i];
		v[j] = w[i];
	});
	each(c, [&](int j, int i) { to[i] = momentum * old[j] + (1 - momentum) * v[j]; });
}

// recall copies the first n elements of the sub-net's memory to activations, from offset on.
extern "C" __launch_bounds__(THREADS)
__global__ void recall(const step *s, act *to, int offset, int n) {
	int at = (int)(blockIdx.x * THREADS + threadIdx.x);
	if (at < n) {
		to[offset + at] = store(((const float *)s->memory)[at]);
	}
}

// remember copies n activations to the sub-net's memory.
extern "C" __launch_bounds__(THREADS)
__global__ void remember(const step *s, const act *from, int n) {
	int at = (int)(blockIdx.x * THREADS + threadIdx.x);
	if (at < n) {
		((float *)s->memory)[at] = load(from[at]);
	}
}

// CONVERTED is the number of elements per thread of convert.
#define CONVERTED 4

// convert rounds x [n] to activations y.
extern "C" __launch_bounds__(THREADS)
__global__ void convert(const float *__restrict__ x, act *__restrict__ y, unsigned long long n) {
	size_t at = (size_t)blockIdx.x * (CONVERTED * THREADS) + threadIdx.x;
#pragma unroll
	for (int i = 0; i < CONVERTED; i++, at += THREADS) {
		if (at < n) {
			y[at] = store(x[at]);
		}
	}
}
