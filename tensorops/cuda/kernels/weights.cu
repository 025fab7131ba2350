// Where the weights of sub-nets lie, and how they get to where products and norms read them.

// chunk is a run of a network's flat vector of parameters that lies in one piece. Go: chunk.
struct chunk {
	int offset; // in the flat vector
	int count;  // elements, 4096 at most
	int tensor; // that it is of
	int flags;  // PRODUCT, ADAPT
	int level;  // level of the group that holds it, -1: what all sub-nets share
	int pos;    // in the group
};

#define PRODUCT 1 // weight of a product: its gradient is of activations
#define ADAPT 2   // LARS scales its steps

#define LEVELS 4

// step says which sub-net is trained, and how fast. Go: step.
struct step {
	float lr;
	float size, decay, root; // coefficients of AdamW
	int levels;              // groups of the sub-net; what other levels would hold is in base
	int vectors;             // of the state beside the weights
	int params;              // elements of base and of a vector of its state
	float momentum;          // of a target network
	unsigned long long base, state;                       // addresses of floats [params] and [vectors, params]
	unsigned long long group[LEVELS], groupState[LEVELS]; // [groupSize] and [vectors, groupSize]
	int groupSize[LEVELS];
};

__device__ __forceinline__ bool inBase(const step *s, const chunk &c) { return c.level < 0 || c.level >= s->levels; }

// weightsOf is where the elements of a chunk lie.
__device__ __forceinline__ float *weightsOf(const step *s, const chunk &c) {
	if (inBase(s, c)) {
		return (float *)s->base + c.offset;
	}
	return (float *)s->group[c.level] + c.pos;
}

// stateOf is where vector k of the state beside them lies.
__device__ __forceinline__ float *stateOf(const step *s, const chunk &c, int k) {
	if (inBase(s, c)) {
		return (float *)s->state + (size_t)k * s->params + c.offset;
	}
	return (float *)s->groupState[c.level] + (size_t)k * s->groupSize[c.level] + c.pos;
}

// gather makes the sub-net's weights, or a vector from 0 on beside them, the network's: params, and weights unless
// null. A block takes one chunk.
extern "C" __launch_bounds__(THREADS)
__global__ void gather(const chunk *chunks, const step *s, int vector, float *params, act *weights) {
	chunk c = chunks[blockIdx.x];
	const float *from = vector < 0 ? weightsOf(s, c) : stateOf(s, c, vector);
	for (int i = (int)threadIdx.x; i < c.count; i += THREADS) {
		float v = from[i];
		params[c.offset + i] = v;
		if (weights) {
			weights[c.offset + i] = store(v);
		}
	}
}

// follow moves a vector beside the weights towards them. A block takes one chunk.
extern "C" __launch_bounds__(THREADS)
__global__ void follow(const chunk *chunks, const step *s, int vector) {
	chunk c = chunks[blockIdx.x];
	const float *w = weightsOf(s, c);
	float *to = stateOf(s, c, vector);
	for (int i = (int)threadIdx.x; i < c.count; i += THREADS) {
		to[i] = s->momentum * to[i] + (1 - s->momentum) * w[i];
	}
}

// CONVERTED is the number of elements that a thread of convert takes.
#define CONVERTED 4

// convert sets y [n] to the activations nearest to x.
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
