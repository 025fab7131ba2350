// The entry points for Go. This file follows the kernels; a table of them follows it.
#include <utility>

template <typename... A, size_t... I> static void unpack(void (*f)(A...), void **args, std::index_sequence<I...>) {
	f(*(A *)args[I]...);
}

template <typename... A> static void unpack_all(void (*f)(A...), void **args) {
	unpack(f, args, std::index_sequence_for<A...>());
}

// call calls a kernel with arguments like cuLaunchKernel's: the address of each value.
template <auto kernel> static void call(void **args) { unpack_all(kernel, args); }

struct entry_point {
	const char *name;
	void (*run)(void **);
};

extern const entry_point table_of_kernels[];

// shim_launch runs a kernel and returns 0, or 1 if no kernel has that name, 2 if a block has too many threads, 3 if not
// all threads of a block reach __syncthreads.
extern "C" int shim_launch(const char *name, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
		unsigned bz, void **args) {
	const entry_point *e = table_of_kernels;
	while (e->name && strcmp(e->name, name) != 0) {
		e++;
	}
	if (!e->name) {
		return 1;
	}
	if ((size_t)bx * by * bz > MAX_THREADS) {
		return 2;
	}
	kernel = e->run;
	arguments = args;
	gridDim = {gx, gy, gz};
	blockDim = {bx, by, bz};
	size_t blocks = (size_t)gx * gy * gz;
	bool backwards = draw();
	for (size_t i = 0; i < blocks; i++) {
		size_t b = backwards ? blocks - 1 - i : i;
		blockIdx = {(unsigned)(b % gx), (unsigned)(b / gx % gy), (unsigned)(b / gx / gy)};
		if (!run_block()) {
			return 3;
		}
	}
	return 0;
}

// shim_layout returns the layout of the structs that Go fills: the size of chunk, then the size of step and the offsets
// of its members, then the same of viewStep.
extern "C" void shim_layout(int *to) {
	const int layout[] = {
		(int)sizeof(chunk),
		(int)sizeof(step),
		(int)offsetof(step, lr),
		(int)offsetof(step, size),
		(int)offsetof(step, decay),
		(int)offsetof(step, root),
		(int)offsetof(step, levels),
		(int)offsetof(step, vectors),
		(int)offsetof(step, params),
		(int)offsetof(step, base),
		(int)offsetof(step, state),
		(int)offsetof(step, memory),
		(int)offsetof(step, group),
		(int)offsetof(step, groupState),
		(int)offsetof(step, groupSize),
		(int)sizeof(viewStep),
		(int)offsetof(viewStep, args),
		(int)offsetof(viewStep, factor),
	};
	memcpy(to, layout, sizeof layout);
}
