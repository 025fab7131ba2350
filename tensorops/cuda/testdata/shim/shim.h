// CUDA C for g++: runs the kernels on the CPU. Blocks run one after the other. The threads of a block are fibers that
// take turns running up to the next __syncthreads, so everything is deterministic.
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

static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }

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
} fibers[MAX_THREADS];

static void *scheduler; // stack pointer of the code that runs the fibers
static unsigned running;
static void (*kernel)(void **);
static void **arguments;

static void __attribute__((noinline)) leave_fiber() { shim_switch(&fibers[running].at, scheduler); }

static void __attribute__((noinline)) __syncthreads() {
	leave_fiber();
	asm volatile("" ::: "memory"); // others have run
}

static void fiber_main() {
	kernel(arguments);
	fibers[running].done = true;
	leave_fiber();
	__builtin_trap();
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
				fibers[n] = {top, {x, y, z}, false};
			}
		}
	}
	for (bool backwards = false;; backwards = !backwards) { // alternate the order, to expose missing barriers
		unsigned done = 0;
		for (unsigned i = 0; i < n; i++) {
			running = backwards ? n - 1 - i : i;
			threadIdx = fibers[running].idx;
			shim_switch(&scheduler, fibers[running].at);
			done += fibers[running].done;
		}
		if (done > 0) {
			return done == n;
		}
	}
}
