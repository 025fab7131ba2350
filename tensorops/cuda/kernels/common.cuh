// Shared by all kernels. The sources are compiled as one translation unit, once per precision: BF16 and TF32 are 1 or 0. They
// include nothing, because NVRTC finds no headers on the machines where it runs.
//
// Arrays are rows of c channels, NHWC. Activations have type act, everything else is float. Arithmetic is in float, and
// in double where the values of a whole channel are combined. No sum depends on the order in which blocks run.

#if BF16
typedef unsigned short act; // the upper half of a float
#else
typedef float act;
#endif

// LANES is the number of adjacent channels that a thread reads and writes at once if c is a multiple of it. Arrays are
// aligned to that many activations.
#define LANES 4

// THREADS is the number of threads per block unless a kernel says otherwise.
#define THREADS 256

__device__ __forceinline__ float load(float v) { return v; }

__device__ __forceinline__ float load(unsigned short v) { return __uint_as_float((unsigned)v << 16); }

// store rounds to the nearest activation, ties to even. NaN stays NaN.
__device__ __forceinline__ act store(float v) {
#if !BF16
	return v;
#elif defined __CUDACC_RTC__
	act to;
	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to) : "f"(v));
	return to;
#else // the tests
	unsigned bits = __float_as_uint(v);
	if ((bits & 0x7fffffffu) > 0x7f800000u) {
		return (act)(bits >> 16 | 0x40u);
	}
	return (act)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
#endif
}

#if BF16
// storeTwo returns a word of two activations, the first in its lower half.
__device__ __forceinline__ unsigned storeTwo(float a, float b) {
#ifdef __CUDACC_RTC__
	unsigned to;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(to) : "f"(b), "f"(a));
	return to;
#else
	return (unsigned)store(a) | (unsigned)store(b) << 16;
#endif
}
#endif

// rounded returns v as it is when it has been stored.
__device__ __forceinline__ float rounded(float v) {
#if BF16
	return __uint_as_float(storeTwo(0, v));
#else
	return v;
#endif
}

// packed is V adjacent activations, 1 or LANES.
template <int V> struct packed {
	act all;
};

template <> struct packed<LANES> {
#if BF16
	uint2 all;
#else
	float4 all;
#endif
};

__device__ __forceinline__ void unpack(const packed<1> &p, float (&v)[1]) { v[0] = load(p.all); }

__device__ __forceinline__ void unpack(const packed<LANES> &p, float (&v)[LANES]) {
#if BF16
	v[0] = __uint_as_float(p.all.x << 16);
	v[1] = __uint_as_float(p.all.x & 0xffff0000u);
	v[2] = __uint_as_float(p.all.y << 16);
	v[3] = __uint_as_float(p.all.y & 0xffff0000u);
#else
	v[0] = p.all.x;
	v[1] = p.all.y;
	v[2] = p.all.z;
	v[3] = p.all.w;
#endif
}

// loads reads V activations, 1 or LANES.
template <int V> __device__ __forceinline__ void loads(const act *p, float (&v)[V]) { unpack(*(const packed<V> *)p, v); }

// stores writes V activations, 1 or LANES.
template <int V> __device__ __forceinline__ void stores(act *p, const float (&v)[V]) {
	if constexpr (V == 1) {
		*p = store(v[0]);
	} else {
#if BF16
		uint2 w;
		w.x = storeTwo(v[0], v[1]);
		w.y = storeTwo(v[2], v[3]);
		*(uint2 *)p = w;
#else
		float4 w;
		w.x = v[0];
		w.y = v[1];
		w.z = v[2];
		w.w = v[3];
		*(float4 *)p = w;
#endif
	}
}

// rectify returns min(max(v, 0), top). NaN stays NaN.
__device__ __forceinline__ float rectify(float v, float top) { return v < 0 ? 0 : v > top ? top : v; }

// fold adds up each of v over the threads with the same x, by tree reduction; threads with y = 0 get the sums. shared has
// V·THREADS floats.
template <int V> __device__ __forceinline__ void fold(float (&v)[V], float *shared) {
	int at = (int)(threadIdx.y * blockDim.x + threadIdx.x);
	__syncthreads(); // shared may still be in use
#pragma unroll
	for (int i = 0; i < V; i++) {
		shared[i * THREADS + at] = v[i];
	}
	for (int half = (int)blockDim.y / 2; half > 0; half /= 2) {
		__syncthreads();
		if ((int)threadIdx.y < half) {
#pragma unroll
			for (int i = 0; i < V; i++) {
				v[i] += shared[i * THREADS + at + half * (int)blockDim.x];
				shared[i * THREADS + at] = v[i];
			}
		}
	}
}

// sumBlock returns, to all threads of a one-dimensional block of N, the sum of their v, by tree reduction.
template <int N = THREADS, typename T> __device__ T sumBlock(T v, T *shared) {
	__syncthreads(); // shared may still be in use
	shared[threadIdx.x] = v;
	for (unsigned half = N / 2; half > 0; half /= 2) {
		__syncthreads();
		if (threadIdx.x < half) {
			shared[threadIdx.x] += shared[threadIdx.x + half];
		}
	}
	__syncthreads();
	return shared[0];
}

// maxBlock returns, to all threads of a one-dimensional block of THREADS, the largest of their v.
__device__ __forceinline__ float maxBlock(float v, float *shared) {
	__syncthreads(); // shared may still be in use
	shared[threadIdx.x] = v;
	for (unsigned half = THREADS / 2; half > 0; half /= 2) {
		__syncthreads();
		if (threadIdx.x < half) {
			shared[threadIdx.x] = fmaxf(shared[threadIdx.x], shared[threadIdx.x + half]);
		}
	}
	__syncthreads();
	return shared[0];
}

// MINUS_INFINITY is below every float.
#define MINUS_INFINITY (-__uint_as_float(0x7f800000u))

// SIDE: kernels that sum columns have blocks of SIDE x SIDE threads, x for columns and y for the rows to sum.
#define SIDE 16

// sumColumns replaces each of a thread's N values by their sum over the threads with the same x. shared has N·SIDE·SIDE
// doubles.
template <int N> __device__ __forceinline__ void sumColumns(double (&v)[N], double *shared) {
	__syncthreads(); // shared may still be in use
#pragma unroll
	for (int i = 0; i < N; i++) {
		shared[(i * SIDE + threadIdx.y) * SIDE + threadIdx.x] = v[i];
	}
	__syncthreads();
	if (threadIdx.y < N) { // one after the other, which takes less time than the barriers of a tree
		double *column = shared + threadIdx.y * SIDE * SIDE + threadIdx.x, sum = 0;
#pragma unroll
		for (int y = 0; y < SIDE; y++) {
			sum += column[y * SIDE];
		}
		column[0] = sum;
	}
	__syncthreads();
#pragma unroll
	for (int i = 0; i < N; i++) {
		v[i] = shared[i * SIDE * SIDE + threadIdx.x];
	}
}

// sumColumns returns the sum of v over the threads with the same x.
__device__ __forceinline__ double sumColumns(double v, double *shared) {
	double all[1] = {v};
	sumColumns(all, shared);
	return all[0];
}

// storePair writes two adjacent activations at an even index.
__device__ __forceinline__ void storePair(act *p, float a, float b) {
#if BF16
	*(unsigned *)p = storeTwo(a, b);
#else
	uint2 w;
	w.x = __float_as_uint(a);
	w.y = __float_as_uint(b);
	*(uint2 *)p = w;
#endif
}

// GROUP is the number of threads of a group, half a warp, which exchange values without a barrier of their block. Blocks with
// groups are one-dimensional.
#define GROUP 16

// What follows is PTX or exchanges values in a warp; the tests have their own.
#ifdef __CUDACC_RTC__

// groupMask has the bits of a thread's group in its warp.
__device__ __forceinline__ unsigned groupMask() { return 0xffffu << (threadIdx.x & GROUP); }

// fromLane returns the v of the thread of the group whose number differs by the bits of lane. All of a group call it together.
template <typename T> __device__ __forceinline__ T fromLane(T v, int lane) { return __shfl_xor_sync(groupMask(), v, lane, GROUP); }

// votesOfGroup returns a bit for each thread of the group, which is v. All of a group call it together.
__device__ __forceinline__ unsigned votesOfGroup(bool v) {
	return (__ballot_sync(groupMask(), v) & groupMask()) >> (threadIdx.x & GROUP);
}

// tensorMultiply adds to c [16, 8] the product of a [16, 16] and b [16, 8] in bfloat16, or of a [16, 8] and b [8, 8] in
// TF32, on the tensor cores. All threads of a warp call it together.
__device__ __forceinline__ void tensorMultiply(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if BF16
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
#else
	asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
#endif
		: "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
		: "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// roundTF32 rounds the bits of a float to the nearest TF32, ties away from 0. NaN stays NaN. Tensor cores drop the lowest 13 bits.
__device__ __forceinline__ unsigned roundTF32(unsigned bits) {
	unsigned to;
	asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(to) : "f"(__uint_as_float(bits)));
	return to;
}

// loadMatrices reads N matrices, 2 or 4, of 8 rows of 16 bytes from shared memory. row is the address of row lane % 8 of matrix
// lane / 8 % N. The thread gets word lane % 4 of row lane / 4 of each or, if TRANSPOSED, half-words lane / 4 of the rows
// lane % 4 · 2 and the next. All threads of a warp call it together.
template <int N, bool TRANSPOSED> __device__ __forceinline__ void loadMatrices(unsigned (&to)[N], const void *row) {
	unsigned from = (unsigned)__cvta_generic_to_shared(row);
	if constexpr (N == 4 && TRANSPOSED) {
		asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
			: "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(from) : "memory");
	} else if constexpr (N == 4) {
		asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
			: "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(from) : "memory");
	} else if constexpr (TRANSPOSED) {
		asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "r"(from) : "memory");
	} else {
		asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "r"(from) : "memory");
	}
}

// copyAsync starts to copy 16 bytes to shared memory, or to fill them with zeros.
__device__ __forceinline__ void copyAsync(void *to, const void *from, bool there) {
	unsigned shared = (unsigned)__cvta_generic_to_shared(to);
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(shared), "l"(from), "r"(there ? 16 : 0) : "memory");
}

// commitAsync makes the copies that the thread has started since the last call a group.
__device__ __forceinline__ void commitAsync() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// waitAsync waits until all but the thread's last N groups are complete.
template <int N> __device__ __forceinline__ void waitAsync() { asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory"); }

#endif
