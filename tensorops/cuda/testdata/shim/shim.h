// CUDA C for g++: runs the kernels on the CPU. Blocks run one after the other. The threads of a block are fibers that
// take turns running up to the next __syncthreads. Whether first to last or last to first is drawn each time, so that what
// lacks a barrier, or depends on the order of blocks, computes something else; the same from run to run, though.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define __shared__ static

struct dim3 {
	unsigned x, y, z;
};

static dim3 gridDim, blockDim, blockIdx, threadIdx;

struct alignas(8) uint2 {
	unsigned x, y;
};

struct alignas(16) float4 {
	float x, y, z, w;
};

static inline float __uint_as_float(unsigned v) {
	float f;
	memcpy(&f, &v, 4);
	return f;
}

static inline unsigned __float_as_uint(float v) {
	unsigned u;
	memcpy(&u, &v, 4);
	return u;
}

static inline float __fmul_rn(float a, float b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline long long __double2ll_rn(double v) { return llrint(v); }
static inline int __ffs(int v) { return __builtin_ffs(v); }

static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }

template <typename T> static T atomicAdd(T *p, T v) {
	T before = *p;
	*p += v;
	return before;
}

// A fiber is a stack; a switch saves the callee-saved registers.
extern "C" void shim_switch(void **save, void *load);
asm(R"(
.text
shim_switch:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret
)");

enum { MAX_THREADS = 1024, STACK = 16 << 10 };

alignas(64) static unsigned char stacks[MAX_THREADS][STACK];

static struct fiber {
	void *at; // saved stack pointer
	dim3 idx;
	bool done;
	unsigned waits; // for how many threads: those of its group or warp, or 0 for all of the block
} fibers[MAX_THREADS];

static unsigned drawn = 1;

// draw returns true half of the time.
static bool draw() {
	drawn = drawn * 1664525 + 1013904223;
	return drawn >> 31;
}

static void *scheduler; // stack pointer of the code that runs the fibers
static unsigned running;
static void (*kernel)(void **);
static void **arguments;

static void __attribute__((noinline)) leave_fiber() { shim_switch(&fibers[running].at, scheduler); }

static void __attribute__((noinline)) __syncthreads() {
	leave_fiber();
	asm volatile("" ::: "memory"); // others have run
}

enum { GROUP_THREADS = 16, WARP_THREADS = 32 };

static void __attribute__((noinline)) wait_for(unsigned threads) {
	fibers[running].waits = threads;
	leave_fiber();
	fibers[running].waits = 0;
	asm volatile("" ::: "memory");
}

static void fiber_main() {
	kernel(arguments);
	fibers[running].done = true;
	leave_fiber();
	__builtin_trap();
}

// Copies to shared memory happen as late as allowed: when their group is waited for.
struct async_copy {
	void *to;
	const void *from;
	bool there;
};

enum { MAX_COPIES = 64, MAX_GROUPS = 8 };

static struct async_groups {
	async_copy copies[MAX_GROUPS][MAX_COPIES]; // the last group is not committed yet
	int n[MAX_GROUPS], groups;
} async_groups[MAX_THREADS];

static void copyAsync(void *to, const void *from, bool there) {
	auto &g = async_groups[running];
	if (((uintptr_t)to | (uintptr_t)from) % 16 != 0 || g.n[g.groups] == MAX_COPIES) {
		__builtin_trap();
	}
	g.copies[g.groups][g.n[g.groups]++] = {to, from, there};
}

static void commitAsync() {
	auto &g = async_groups[running];
	if (++g.groups == MAX_GROUPS) {
		__builtin_trap();
	}
	g.n[g.groups] = 0;
}

template <int N> static void waitAsync() {
	auto &g = async_groups[running];
	int done = max(0, g.groups - N);
	for (int i = 0; i < done; i++) {
		for (int j = 0; j < g.n[i]; j++) {
			async_copy &c = g.copies[i][j];
			if (c.there) {
				memcpy(c.to, c.from, 16);
			} else {
				memset(c.to, 0, 16);
			}
		}
	}
	for (int i = done; i <= g.groups; i++) {
		memcpy(g.copies[i - done], g.copies[i], sizeof g.copies[i]);
		g.n[i - done] = g.n[i];
	}
	g.groups -= done;
}

// run_warp runs the threads of a warp up to the next __syncthreads, and counts those that end. It returns false if some
// wait for their group or warp while others do not.
static bool run_warp(unsigned from, unsigned n, bool backwards, unsigned &done) {
	bool ready[WARP_THREADS];
	memset(ready, true, sizeof ready);
	for (bool any = true; any;) {
		for (unsigned i = 0; i < n; i++) {
			unsigned thread = backwards ? n - 1 - i : i;
			if (ready[thread]) {
				ready[thread] = false;
				running = from + thread;
				threadIdx = fibers[running].idx;
				shim_switch(&scheduler, fibers[running].at);
			}
		}
		any = false;
		for (unsigned size = GROUP_THREADS; size <= WARP_THREADS; size *= 2) {
			for (unsigned first = 0; first < n; first += size) {
				unsigned end = min(first + size, n), waiting = 0;
				for (unsigned i = first; i < end; i++) {
					waiting += fibers[from + i].waits == size;
				}
				if (waiting == end - first) {
					memset(ready + first, true, waiting);
					any = true;
				}
			}
		}
	}
	for (unsigned i = from; i < from + n; i++) {
		done += fibers[i].done;
		if (fibers[i].waits) {
			return false;
		}
	}
	return true;
}

// run_block runs a block. It returns false if some threads ended while others waited for them.
static bool run_block() {
	unsigned n = 0;
	for (unsigned z = 0; z < blockDim.z; z++) {
		for (unsigned y = 0; y < blockDim.y; y++) {
			for (unsigned x = 0; x < blockDim.x; x++, n++) {
				// Six registers, then the return address; on entry, a function's stack pointer is 8 bytes off a
				// multiple of 16.
				void **top = (void **)(stacks[n] + STACK) - 8;
				memset(top, 0, 8 * sizeof(void *));
				top[6] = (void *)fiber_main;
				fibers[n] = {top, {x, y, z}, false, 0};
				async_groups[n].groups = async_groups[n].n[0] = 0;
			}
		}
	}
	for (;;) {
		unsigned done = 0, warps = (n + WARP_THREADS - 1) / WARP_THREADS;
		bool backwards = draw(), inside = draw();
		for (unsigned i = 0; i < warps; i++) {
			unsigned from = (backwards ? warps - 1 - i : i) * WARP_THREADS;
			if (!run_warp(from, min(n - from, WARP_THREADS), inside, done)) {
				return false;
			}
		}
		if (done > 0) {
			return done == n;
		}
	}
}

// Threads of a group exchange values in one of two arrays by turns: nobody is two calls ahead.
static unsigned char lanes[2][MAX_THREADS][8];

static bool lane_turns[MAX_THREADS];

template <typename T> static T fromLane(T v, int lane) {
	auto &all = lanes[lane_turns[running] ^= true];
	memcpy(all[running], &v, sizeof v);
	wait_for(GROUP_THREADS);
	memcpy(&v, all[running ^ (unsigned)lane], sizeof v);
	return v;
}

static unsigned votesOfGroup(bool v) {
	auto &all = lanes[lane_turns[running] ^= true];
	all[running][0] = v;
	wait_for(GROUP_THREADS);
	unsigned votes = 0;
	for (unsigned i = 0; i < GROUP_THREADS; i++) {
		votes |= (unsigned)all[running / GROUP_THREADS * GROUP_THREADS + i][0] << i;
	}
	return votes;
}

// tensorMultiply follows the PTX manual: mma.m16n8k16 for bfloat16, mma.m16n8k8 for TF32, which ignores the lowest 13
// bits. Threads of a warp exchange their operands in one of two arrays by turns: nobody is two calls ahead.
static struct exchange {
	float a[4][2], b[2][2]; // a word is one float, or two bfloat16
} exchanges[2][MAX_THREADS];

static bool turns[MAX_THREADS];

static void tensorMultiply(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
	exchange *all = exchanges[turns[running] ^= true], &own = all[running];
	for (int i = 0; i < 6; i++) {
		unsigned word = i < 4 ? a[i] : b[i - 4];
		float *to = i < 4 ? own.a[i] : own.b[i - 4];
#if BF16
		to[0] = __uint_as_float(word << 16);
		to[1] = __uint_as_float(word & 0xffff0000u);
#else
		to[0] = __uint_as_float(word & 0xffffe000u);
		to[1] = 0;
#endif
	}
	wait_for(WARP_THREADS);
	const exchange *warp = all + running / 32 * 32;
	int lane = running % 32;
	for (int i = 0; i < 4; i++) {
		int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
		double sum = 0;
		for (int k = 0; k < 8; k++) { // words
			const float *left = warp[row % 8 * 4 + k % 4].a[row / 8 + k / 4 * 2];
			const float *right = warp[column * 4 + k % 4].b[k / 4];
			sum += (double)left[0] * right[0] + (double)left[1] * right[1];
		}
		c[i] = (float)(c[i] + sum);
	}
}

static unsigned roundTF32(unsigned bits) { return (bits & 0x7fffffffu) > 0x7f800000u ? bits : bits + 0x1000u; }

// loadMatrices follows the PTX manual: ldmatrix.m8n8.b16.
static const void *matrices[2][MAX_THREADS];

static bool matrix_turns[MAX_THREADS];

template <int N, bool TRANSPOSED> static void loadMatrices(unsigned (&to)[N], const void *row) {
	if ((uintptr_t)row % 16 != 0) {
		__builtin_trap();
	}
	const void **all = matrices[matrix_turns[running] ^= true];
	all[running] = row;
	wait_for(WARP_THREADS);
	const void **warp = all + running / 32 * 32;
	int lane = running % 32;
	for (int i = 0; i < N; i++) {
		uint16_t half[2];
		for (int j = 0; j < 2; j++) {
			int row = TRANSPOSED ? lane % 4 * 2 + j : lane / 4, column = TRANSPOSED ? lane / 4 : lane % 4 * 2 + j;
			half[j] = ((const uint16_t *)warp[i * 8 + row])[column];
		}
		to[i] = half[0] | (unsigned)half[1] << 16;
	}
}
