// Convolutions of few channels as matrix products on tensor cores. The products are implicit: the matrix whose row holds
// the input of an output pixel is never stored.
//
// A block has four warps. In shared memory, tiles of the operands wait for their turn in a ring of STAGES, filled by
// asynchronous copies of 16 bytes. Rows of tiles have a gap after them, so that the threads of a warp read different
// banks.
//
// Float32 is computed as three products of TF32 (Ootomo and Yokota 2022): each operand is split into a high and a low
// part of 11 bits, and only the product of the low parts is left out. With the precision TF32, there is one product.

#define FLOAT32 (!BF16 && !TF32)
#define CONV_THREADS 128
#define STAGES 3
#define VECTOR (16 / (int)sizeof(act)) // elements of an asynchronous copy
#define STEP (32 / (int)sizeof(act))   // elements that a multiplication adds up
#define GAP 8                          // elements after a row of adjacent columns

// terms is an operand of a multiplication: W words of this thread, each a float or two bfloat16.
template <int W> struct terms {
	unsigned word[W];
#if FLOAT32
	unsigned low[W]; // what word leaves over
#endif
};

template <int W> __device__ __forceinline__ void split(terms<W> &a) {
#if TF32
#pragma unroll
	for (int i = 0; i < W; i++) {
		a.word[i] = roundTF32(a.word[i]);
	}
#elif FLOAT32
#pragma unroll
	for (int i = 0; i < W; i++) {
		float all = __uint_as_float(a.word[i]);
		a.word[i] &= 0xffffe000u;
		a.low[i] = __float_as_uint(all - __uint_as_float(a.word[i]));
	}
#endif
}

// multiply adds to c [16, 8] the product of a [16, STEP] and b [STEP, 8], spread over the threads of a warp as PTX says
// for mma.m16n8k16 and mma.m16n8k8.
__device__ __forceinline__ void multiply(float (&c)[4], const terms<4> &a, const terms<2> &b) {
#if FLOAT32
	float part[4] = {}; // long sums are not left to the tensor cores, which do not round
	tensorMultiply(part, a.low, b.word);
	tensorMultiply(part, a.word, b.low);
	tensorMultiply(part, a.word, b.word);
#pragma unroll
	for (int i = 0; i < 4; i++) {
		c[i] += part[i];
	}
#else
	tensorMultiply(c, a.word, b.word);
#endif
}

// adjacentTerms reads the words of rows of a tile whose elements to add up are adjacent: row, and for four words also
// row + 8.
template <int W> __device__ __forceinline__ terms<W> adjacentTerms(const act *tile, int pitch, int row, int k) {
	const int lane = (int)threadIdx.x % 32, rows = W / 2, matrix = lane / 8 % W;
	terms<W> to;
	loadMatrices<W, false>(to.word, tile + (row + lane % 8 + matrix % rows * 8) * pitch + k + matrix / rows * VECTOR);
	split(to);
	return to;
}

// columnTerms does the same for a tile whose elements to add up are in a column.
template <int W> __device__ __forceinline__ terms<W> columnTerms(const act *tile, int pitch, int column, int k) {
	const int lane = (int)threadIdx.x % 32, rows = W / 2;
	terms<W> to;
#if BF16
	const int matrix = lane / 8 % W;
	loadMatrices<W, true>(to.word, tile + (k + lane % 8 + matrix / rows * 8) * pitch + column + matrix % rows * 8);
#else
#pragma unroll
	for (int i = 0; i < W; i++) {
		to.word[i] = __float_as_uint(tile[(k + lane % 4 + i / rows * 4) * pitch + column + lane / 4 + i % rows * 8]);
	}
#endif
	split(to);
	return to;
}

// stream has fill start the copies of each chunk, once and in order, to its stage of the ring, and use compute with it when they
// are there, while those of the next chunks are on their way.
template <typename Fill, typename Use> __device__ __forceinline__ void stream(int chunks, const Fill &fill, const Use &use) {
	for (int chunk = 0; chunk < STAGES - 1; chunk++) {
		if (chunk < chunks) {
			fill(chunk);
		}
		commitAsync();
	}
	for (int chunk = 0; chunk < chunks; chunk++) {
		waitAsync<STAGES - 2>();
		__syncthreads(); // the stage is there for all, and nobody reads the one before
		if (chunk + STAGES - 1 < chunks) {
			fill(chunk + STAGES - 1);
		}
		commitAsync();
		use(chunk);
	}
}

// digits is an index split by two radices, such as a pixel into x, y and its image. It advances by addition, because divisions
// take long.
struct digits {
	int low, middle, high;
};

__device__ __forceinline__ digits digitsOf(int v, int first, int second) {
	int rest = v / first, high = rest / second;
	return {v - rest * first, rest - high * second, high};
}

// advance adds to an index. Both low digits are below the first radix and both middle ones below the second, so that each
// carries at most once.
__device__ __forceinline__ void advance(digits &to, const digits &v, int first, int second) {
	to.low += v.low;
	bool carry = to.low >= first;
	to.low -= carry ? first : 0;
	to.middle += v.middle + carry;
	carry = to.middle >= second;
	to.middle -= carry ? second : 0;
	to.high += v.high + carry;
}

// place is a pixel of the result: where in the image its first tap is.
struct place {
	int image; // index of the image's first pixel
	short y, x;
};

#define NOWHERE (-20000) // so far off that every tap is in the padding

// locate returns the index of the pixel under a tap, or -1 for the padding. With BACK, the image is the gradient of a
// convolution's output, and only every (1 << shift)-th place of it is there.
template <bool BACK> __device__ __forceinline__ int locate(const place &p, int ky, int kx, int h, int w, int shift) {
	int y = BACK ? p.y - ky : p.y + ky, x = BACK ? p.x - kx : p.x + kx;
	if (BACK) {
		if ((y | x) & ((1 << shift) - 1)) {
			return -1;
		}
		y >>= shift;
		x >>= shift;
	}
	return (unsigned)y < (unsigned)h && (unsigned)x < (unsigned)w ? p.image + y * w + x : -1;
}

// placeOf returns the place of a pixel of the result, which is split by [ow, oh]; nowhere if it is not there.
template <bool BACK> __device__ __forceinline__ place placeOf(const digits &pixel, bool there, int h, int w, int shift, int pad) {
	if (!there) {
		return {0, NOWHERE, NOWHERE};
	}
	int y = BACK ? pixel.middle + pad : (pixel.middle << shift) - pad, x = BACK ? pixel.low + pad : (pixel.low << shift) - pad;
	return {pixel.high * h * w, (short)y, (short)x};
}

// convolve computes 64·TALL rows and WIDE columns of the matrix product of
//
//	forward: the pixels under the taps of each output pixel, and the weights [o, kh·kw·c]
//	BACK:    the gradients over which each input pixel had a tap, and the weights [c, kh·kw, o]
//
// from an image [n, h, w, c] to out [rows, o], rows = n·oh·ow. Blocks are indexed by (tile of rows, tile of columns).
// c and o are multiples of VECTOR and of 8; with FLAT, which is forward only, c can be any number.
template <int TALL, int WIDE, bool BACK, bool FLAT>
__device__ __forceinline__ void convolve(const act *image, const act *weights, act *out, int h, int w, int c, int oh,
		int ow, int o, int rows, int kh, int kw, int shift, int pad) {
	enum {
		TILE = 64 * TALL, // rows
		DEPTH = 2 * STEP, // elements to add up in a stage
		PITCH = DEPTH + VECTOR,
		PITCH_B = BACK ? WIDE + GAP : PITCH,
		SIZE_B = BACK ? DEPTH * PITCH_B : WIDE * PITCH_B,
		COPIES = DEPTH / VECTOR, // to a row
		ROWS = CONV_THREADS / COPIES,
		COPIES_B = WIDE / VECTOR, // to a row of weights, if BACK
		ROWS_B = CONV_THREADS / COPIES_B
	};
	alignas(16) __shared__ act tilesA[STAGES * TILE * PITCH];
	alignas(16) __shared__ act tilesB[STAGES * SIZE_B];
	__shared__ place places[TILE];
	const int thread = (int)threadIdx.x, warp = thread / 32, lane = thread % 32;
	const int firstRow = (int)blockIdx.x * TILE, firstColumn = (int)blockIdx.y * WIDE;
	const int taps = kh * kw, all = taps * c, chunks = (all + DEPTH - 1) / DEPTH;
	for (int i = thread; i < TILE; i += CONV_THREADS) {
		places[i] = placeOf<BACK>(digitsOf(firstRow + i, ow, oh), firstRow + i < rows, h, w, shift, pad);
	}
	__syncthreads();

	// The elements to add up are split into channel, and column and row of the tap. next is the first of those of the image that
	// the thread copies, and nextB of those of the weights, if BACK.
	const digits step = digitsOf(DEPTH, c, kw), stepB = digitsOf(ROWS_B, c, kw);
	digits next = digitsOf(FLAT ? thread % DEPTH : thread % COPIES * VECTOR, c, kw), nextB = digitsOf(thread / COPIES_B, c, kw);
	auto fill = [&](int chunk) {
		act *a = tilesA + chunk % STAGES * TILE * PITCH, *b = tilesB + chunk % STAGES * SIZE_B;
		const bool inside = next.high < kh;
		if (FLAT) {
			enum { APART = CONV_THREADS / DEPTH, BATCH = 8 };
			const int k = thread % DEPTH;
#pragma unroll 1
			for (int row = thread / DEPTH; row < TILE; row += BATCH * APART) {
				act v[BATCH];
#pragma unroll
				for (int j = 0; j < BATCH; j++) {
					int at = locate<BACK>(places[row + j * APART], next.high, next.middle, h, w, shift);
					v[j] = !inside || at < 0 ? (act)0 : image[(size_t)at * c + next.low];
				}
#pragma unroll
				for (int j = 0; j < BATCH; j++) {
					a[(row + j * APART) * PITCH + k] = v[j];
				}
			}
			for (int column = thread / DEPTH; column < WIDE; column += APART) {
				bool there = inside && firstColumn + column < o;
				b[column * PITCH + k] = there ? weights[(size_t)(firstColumn + column) * all + chunk * DEPTH + k] : (act)0;
			}
			advance(next, step, c, kw);
			return;
		}
		const int first = thread % COPIES * VECTOR;
		int under[TILE / ROWS]; // found before any is copied: nothing moves across copies
#pragma unroll
		for (int j = 0; j < TILE / ROWS; j++) {
			int at = locate<BACK>(places[thread / COPIES + j * ROWS], next.high, next.middle, h, w, shift);
			under[j] = inside ? at : -1;
		}
#pragma unroll
		for (int j = 0; j < TILE / ROWS; j++) {
			act *to = a + (thread / COPIES + j * ROWS) * PITCH + first;
			copyAsync(to, image + (size_t)max(under[j], 0) * c + next.low, under[j] >= 0);
		}
		advance(next, step, c, kw);
		if (BACK) {
			const int column = thread % COPIES_B * VECTOR;
			digits k = nextB;
#pragma unroll
			for (int row = 0; row < DEPTH; row += ROWS_B) {
				if (row + thread / COPIES_B < DEPTH) {
					bool there = k.high < kh && firstColumn + column < o;
					size_t from = ((size_t)k.low * taps + k.high * kw + k.middle) * o + firstColumn + column;
					copyAsync(b + (row + thread / COPIES_B) * PITCH_B + column, weights + (there ? from : 0), there);
				}
				advance(k, stepB, c, kw);
			}
			advance(nextB, step, c, kw);
			return;
		}
#pragma unroll
		for (int from = 0; from < WIDE; from += ROWS) {
			int column = from + thread / COPIES;
			if (column < WIDE) {
				bool there = inside && firstColumn + column < o;
				size_t k = (size_t)(firstColumn + column) * all + chunk * DEPTH + first;
				copyAsync(b + column * PITCH_B + first, weights + (there ? k : 0), there);
			}
		}
	};

	float sums[TALL][WIDE / 8][4] = {};
	stream(chunks, fill, [&](int chunk) {
		const act *a = tilesA + chunk % STAGES * TILE * PITCH, *b = tilesB + chunk % STAGES * SIZE_B;
#pragma unroll
		for (int k = 0; k < DEPTH; k += STEP) {
			terms<4> left[TALL];
#pragma unroll
			for (int i = 0; i < TALL; i++) {
				left[i] = adjacentTerms<4>(a, PITCH, (warp * TALL + i) * 16, k);
			}
#pragma unroll
			for (int j = 0; j < WIDE / 8; j++) {
				terms<2> right = BACK ? columnTerms<2>(b, PITCH_B, j * 8, k) : adjacentTerms<2>(b, PITCH_B, j * 8, k);
#pragma unroll
				for (int i = 0; i < TALL; i++) {
					multiply(sums[i][j], left[i], right);
				}
			}
		}
	});
#pragma unroll
	for (int i = 0; i < TALL; i++) {
#pragma unroll
		for (int j = 0; j < WIDE / 8; j++) {
			int row = firstRow + (warp * TALL + i) * 16 + lane / 4, column = firstColumn + j * 8 + lane % 4 * 2;
#pragma unroll
			for (int half = 0; half < 2; half++, row += 8) {
				if (row < rows && column < o) {
					storePair(out + (size_t)row * o + column, sums[i][j][2 * half], sums[i][j][2 * half + 1]);
				}
			}
		}
	}
}

// Blocks of convolve's kernels have CONV_THREADS threads.
#define CONVOLVE(convolve_, tall, wide, back, flat) \
	extern "C" __launch_bounds__(CONV_THREADS) \
	__global__ void convolve_(const act *image, const act *weights, act *out, int h, int w, int c, int oh, int ow, \
			int o, int rows, int kh, int kw, int shift, int pad) { \
		convolve<tall, wide, back, flat>(image, weights, out, h, w, c, oh, ow, o, rows, kh, kw, shift, pad); \
	}

CONVOLVE(conv_forward_64x8, 1, 8, false, false)
CONVOLVE(conv_forward_64x16, 1, 16, false, false)
CONVOLVE(conv_forward_64x32, 1, 32, false, false)
CONVOLVE(conv_forward_64x64, 1, 64, false, false)
CONVOLVE(conv_forward_128x8, 2, 8, false, false)
CONVOLVE(conv_forward_128x16, 2, 16, false, false)
CONVOLVE(conv_forward_128x32, 2, 32, false, false)
CONVOLVE(conv_forward_128x64, 2, 64, false, false)
CONVOLVE(conv_flat_128x8, 2, 8, false, true)
CONVOLVE(conv_flat_128x16, 2, 16, false, true)
CONVOLVE(conv_flat_128x32, 2, 32, false, true)
CONVOLVE(conv_flat_128x64, 2, 64, false, true)
CONVOLVE(conv_data_64x8, 1, 8, true, false)
CONVOLVE(conv_data_64x16, 1, 16, true, false)
CONVOLVE(conv_data_64x32, 1, 32, true, false)
CONVOLVE(conv_data_64x64, 1, 64, true, false)
CONVOLVE(conv_data_128x8, 2, 8, true, false)
CONVOLVE(conv_data_128x16, 2, 16, true, false)
CONVOLVE(conv_data_128x32, 2, 32, true, false)
CONVOLVE(conv_data_128x64, 2, 64, true, false)

// correlate computes the gradient of the weights [o, kh·kw, c] for SIDE x SIDE pairs of output and input channels of a
// tap, over a part of the output's pixels [rows] = [n, oh, ow]: the product of dy [rows, o], transposed, and the pixels
// of the image [n, h, w, c] under the tap. Each warp adds up every fourth STEP of the pixels. With FLAT, the columns are
// the taps' channels, kh·kw·c in a row, and c can be any number; else it is a multiple of VECTOR, and so is o.
//
// Blocks are indexed by (tile, part); the tiles are (tap, tile of o, tile of c), with no taps if FLAT. parts
// [parts, o, kh·kw, c] has the sums of each part.
template <int SQUARE, bool FLAT>
__device__ __forceinline__ void correlate(const act *image, const act *dy, float *parts, int h, int w, int c, int oh,
		int ow, int o, int rows, int kh, int kw, int shift, int pad, int partRows) {
	enum {
		WARPS = CONV_THREADS / 32,
		DEPTH = WARPS * STEP,
		PITCH = SQUARE + GAP,
		SIZE = DEPTH * PITCH,
		COPIES = SQUARE / VECTOR, // to a row
		ROWS = CONV_THREADS / COPIES,
		BYTES = 2 * STAGES * SIZE * (int)sizeof(act),
		SUMS = WARPS * SQUARE * SQUARE * (int)sizeof(float)
	};
	alignas(16) __shared__ unsigned char memory[BYTES > SUMS ? BYTES : SUMS];
	act *const tiles = (act *)memory; // [STAGES, 2, DEPTH, PITCH]: dy, image
	const int thread = (int)threadIdx.x, warp = thread / 32, lane = thread % 32;
	const int taps = FLAT ? 1 : kh * kw, columns = FLAT ? kh * kw * c : c;
	const int across = (columns + SQUARE - 1) / SQUARE, down = (o + SQUARE - 1) / SQUARE;
	const int tap = (int)blockIdx.x / (across * down), square = (int)blockIdx.x % (across * down);
	const int firstO = square / across * SQUARE, firstC = square % across * SQUARE, ky = tap / kw, kx = tap % kw;
	const int from = (int)blockIdx.y * partRows, to = min(from + partRows, rows);
	const int chunks = (to - from + DEPTH - 1) / DEPTH;

	// The thread copies, of every apart-th pixel of the output from next on, what is under a tap.
	const int apart = FLAT ? CONV_THREADS / SQUARE : ROWS;
	const digits step = digitsOf(DEPTH, ow, oh), stepRow = digitsOf(apart, ow, oh);
	digits next = digitsOf(from + thread / (FLAT ? SQUARE : COPIES), ow, oh);
	const digits flat = digitsOf(firstC + thread % SQUARE, c, kw); // channel and tap, if FLAT
	auto fill = [&](int chunk) {
		act *a = tiles + chunk % STAGES * 2 * SIZE, *b = a + SIZE;
		const int column = thread % COPIES * VECTOR;
		digits pixel = next;
#pragma unroll
		for (int j = 0; j < DEPTH / ROWS; j++) {
			int i = thread / COPIES + j * ROWS, row = from + chunk * DEPTH + i;
			bool there = row < to && firstO + column < o;
			copyAsync(a + i * PITCH + column, dy + (there ? (size_t)row * o + firstO + column : 0), there);
			if (!FLAT) {
				place p = placeOf<false>(pixel, row < to, h, w, shift, pad);
				int at = firstC + column < c ? locate<false>(p, ky, kx, h, w, shift) : -1;
				copyAsync(b + i * PITCH + column, image + (size_t)max(at, 0) * c + firstC + column, at >= 0);
				advance(pixel, stepRow, ow, oh);
			}
		}
		if (FLAT) {
			enum { APART = CONV_THREADS / SQUARE, BATCH = 8 };
#pragma unroll 1
			for (int i = thread / SQUARE; i < DEPTH; i += BATCH * APART) {
				act v[BATCH];
#pragma unroll
				for (int j = 0; j < BATCH; j++) {
					place p = placeOf<false>(pixel, from + chunk * DEPTH + i + j * APART < to, h, w, shift, pad);
					int at = locate<false>(p, flat.high, flat.middle, h, w, shift);
					v[j] = flat.high >= kh || at < 0 ? (act)0 : image[(size_t)at * c + flat.low];
					advance(pixel, stepRow, ow, oh);
				}
#pragma unroll
				for (int j = 0; j < BATCH; j++) {
					b[(i + j * APART) * PITCH + thread % SQUARE] = v[j];
				}
			}
		}
		advance(next, step, ow, oh);
	};

	float sums[SQUARE / 16][SQUARE / 8][4] = {};
	stream(chunks, fill, [&](int chunk) {
		const act *a = tiles + chunk % STAGES * 2 * SIZE, *b = a + SIZE;
		terms<4> left[SQUARE / 16];
#pragma unroll
		for (int i = 0; i < SQUARE / 16; i++) {
			left[i] = columnTerms<4>(a, PITCH, i * 16, warp * STEP);
		}
#pragma unroll
		for (int j = 0; j < SQUARE / 8; j++) {
			terms<2> right = columnTerms<2>(b, PITCH, j * 8, warp * STEP);
#pragma unroll
			for (int i = 0; i < SQUARE / 16; i++) {
				multiply(sums[i][j], left[i], right);
			}
		}
	});
	waitAsync<0>();
	__syncthreads(); // nobody reads the tiles any more
	float *const all = (float *)memory; // [WARPS, SQUARE, SQUARE]
#pragma unroll
	for (int i = 0; i < SQUARE / 16; i++) {
#pragma unroll
		for (int j = 0; j < SQUARE / 8; j++) {
#pragma unroll
			for (int v = 0; v < 4; v++) {
				int row = i * 16 + lane / 4 + v / 2 * 8, column = j * 8 + lane % 4 * 2 + v % 2;
				all[(warp * SQUARE + row) * SQUARE + column] = sums[i][j][v];
			}
		}
	}
	__syncthreads();
	for (int i = thread; i < SQUARE * SQUARE; i += CONV_THREADS) {
		int row = firstO + i / SQUARE, column = firstC + i % SQUARE;
		float sum = 0;
		for (int v = 0; v < WARPS; v++) {
			sum += all[v * SQUARE * SQUARE + i];
		}
		if (row < o && column < columns) {
			parts[(((size_t)blockIdx.y * o + row) * taps + tap) * columns + column] = sum;
		}
	}
}

// Blocks of correlate's kernels have CONV_THREADS threads.
#define CORRELATE(correlate_, square, flat) \
	extern "C" __launch_bounds__(CONV_THREADS) \
	__global__ void correlate_(const act *image, const act *dy, float *parts, int h, int w, int c, int oh, int ow, \
			int o, int rows, int kh, int kw, int shift, int pad, int partRows) { \
		correlate<square, flat>(image, dy, parts, h, w, c, oh, ow, o, rows, kh, kw, shift, pad, partRows); \
	}

CORRELATE(conv_weights_16, 16, false)
CORRELATE(conv_weights_32, 32, false)
CORRELATE(conv_weights_flat, 32, true)

// conv_sum adds up parts [parts, n] of the gradient of n weights.
extern "C" __launch_bounds__(THREADS)
__global__ void conv_sum(const float *from, act *to, int n, int parts) {
	int i = (int)(blockIdx.x * THREADS + threadIdx.x);
	if (i < n) {
		float sum = 0;
		for (int part = 0; part < parts; part++) {
			sum += from[(size_t)part * n + i];
		}
		to[i] = store(sum);
	}
}
