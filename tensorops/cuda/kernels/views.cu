// Views of 8-bit RGB images, as package augment makes them on the CPU, byte for byte: all arithmetic is in integers, or in
// floats that round where augment's do. A block makes one view after another, each by a list of steps, in two buffers of
// pixels, which are in shared memory if they fit. Loops that have few rounds are not unrolled, which keeps the code small.

// VIEW_THREADS is the number of threads per block.
#define VIEW_THREADS 512

// VIEW_SIDE is the largest height and width of images and views whose pixels fit into shared memory.
#define VIEW_SIDE 64

// VIEW_WEIGHTS is how many integers planAxis writes at most; side is the larger one of an image's and a view's.
#define VIEW_WEIGHTS(side, size) (2 * (side) + 3 * (size))

// viewStep is augment.Step.
struct viewStep {
	int kind;
	int args[4];
	float factor;
};

// The kinds of steps, numbered as augment's. A list that is shorter than others ends with 0.
enum { VIEW_CROP = 1, VIEW_FLIP, VIEW_BRIGHTNESS, VIEW_CONTRAST, VIEW_SATURATION, VIEW_HUE, VIEW_GRAY, VIEW_BLUR, VIEW_SOLARIZE };

typedef unsigned char byte;

__device__ __forceinline__ byte clipByte(int v) { return (byte)min(max(v, 0), 255); }

// luma is Pillow's conversion from RGB to L.
__device__ __forceinline__ int luma(const byte *p) { return (p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16; }

// blend is Pillow's Image.blend of two bytes.
__device__ __forceinline__ byte blend(int from, int to, float factor) {
	return clipByte((int)((float)from + __fmul_rn(factor, (float)(to - from))));
}

// triangle is the weight of a pixel for a point at center, before they are divided by their sum.
__device__ __forceinline__ double triangle(int pixel, double center, double inverse) {
	double x = fabs(__dmul_rn((double)pixel - center + 0.5, inverse));
	return x < 1 ? 1 - x : 0;
}

// planAxis writes, for each of out positions, the first of the in positions that contribute to it, their number and their
// weights, in 22-bit fixed point. It returns the distance between two positions' lists.
__device__ int planAxis(int *to, int in, int out) {
	double scale = (double)in / out, reach = scale < 1 ? 1 : scale, inverse = 1 / reach;
	int stride = (int)(2 * reach) + 3;
	for (int i = (int)threadIdx.x; i < out; i += VIEW_THREADS) {
		int *list = to + i * stride;
		double center = __dmul_rn(i + 0.5, scale), sum = 0;
		int first = max((int)(center - reach + 0.5), 0), n = min((int)(center + reach + 0.5), in) - first;
#pragma unroll 1
		for (int j = 0; j < n; j++) {
			sum += triangle(first + j, center, inverse);
		}
		list[0] = first;
		list[1] = n;
#pragma unroll 1
		for (int j = 0; j < n; j++) {
			list[2 + j] = (int)(triangle(first + j, center, inverse) / sum * (1 << 22) + 0.5);
		}
	}
	return stride;
}

// scaleAxis makes height x width pixels of others, whose rows are row bytes long: it scales the columns if down is set, else
// the rows.
__device__ void scaleAxis(byte *to, int height, int width, const byte *from, int row, bool down, const int *lists, int stride) {
	for (int i = (int)threadIdx.x; i < height * width; i += VIEW_THREADS) {
		int y = i / width, x = i % width, next = down ? row : 3;
		const int *list = lists + (down ? y : x) * stride;
		const byte *p = from + (down ? list[0] * row + 3 * x : y * row + 3 * list[0]);
		int r = 1 << 21, g = 1 << 21, b = 1 << 21; // rounds to nearest
#pragma unroll 1
		for (int j = 0; j < list[1]; j++, p += next) {
			int weight = list[2 + j];
			r += p[0] * weight;
			g += p[1] * weight;
			b += p[2] * weight;
		}
		to[3 * i] = clipByte(r >> 22);
		to[3 * i + 1] = clipByte(g >> 22);
		to[3 * i + 2] = clipByte(b >> 22);
	}
}

// crop makes size x size pixels of a box of height x width pixels, which is part of rows of row bytes. to may be the image
// that has the box; between is another buffer. Where an axis keeps its length, its pass changes nothing.
__device__ void crop(byte *to, byte *between, int size, const byte *box, int height, int width, int row, int *weightsX,
		int *weightsY) {
	int strideX = planAxis(weightsX, width, size), strideY = planAxis(weightsY, height, size);
	__syncthreads();
	if (height > size && height - size > 2 * (width - size)) {
		scaleAxis(between, size, width, box, row, true, weightsY, strideY);
		__syncthreads();
		scaleAxis(to, size, size, between, 3 * width, false, weightsX, strideX);
	} else {
		scaleAxis(between, height, size, box, row, false, weightsX, strideX);
		__syncthreads();
		scaleAxis(to, size, size, between, 3 * size, true, weightsY, strideY);
	}
}

// boxFilter sets every byte to inner times the sum of the 2r+1 bytes around it, along rows or, if down is set, columns,
// plus outer times the two beyond them. The first and last one are repeated beyond the edges.
__device__ void boxFilter(byte *to, const byte *from, int size, bool down, int r, unsigned inner, unsigned outer) {
	int next = down ? 3 * size : 3, last = size - 1;
	for (int i = (int)threadIdx.x; i < size * size; i += VIEW_THREADS) {
		int at = down ? i / size : i % size, before = max(r - at, 0), beyond = max(at + r - last, 0);
		const byte *line = from + 3 * i - at * next;
		for (int c = 0; c < 3; c++, line++) {
			unsigned sum = (unsigned)(line[0] * before + line[last * next] * beyond);
#pragma unroll 1
			for (int j = at - r + before; j <= at + r - beyond; j++) {
				sum += line[j * next];
			}
			unsigned edges = (unsigned)line[max(at - r - 1, 0) * next] + line[min(at + r + 1, last) * next];
			to[3 * i + c] = (byte)((sum * inner + edges * outer + (1u << 23)) >> 24);
		}
	}
}

// blur filters three times along the rows and three times along the columns.
__device__ void blur(byte *pixels, byte *other, int size, const int *args) {
#pragma unroll 1
	for (int i = 0; i < 6; i++) {
		boxFilter(i % 2 ? pixels : other, i % 2 ? other : pixels, size, i >= 3, args[0], (unsigned)args[1], (unsigned)args[2]);
		__syncthreads();
	}
}

// hueOf returns the H byte of Pillow's rgb2hsv, for channels that are not all equal.
__device__ __forceinline__ byte hueOf(int r, int g, int b, int high, float chroma) {
	float rc = (float)(high - r) / chroma, gc = (float)(high - g) / chroma, bc = (float)(high - b) / chroma, h;
	if (r == high) {
		h = bc - gc;
	} else if (g == high) {
		h = (float)(2 + (double)rc - (double)bc);
	} else {
		h = (float)(4 + (double)gc - (double)rc);
	}
	double turn = (double)h / 6 + 1;
	if (turn >= 1) {
		turn -= 1;
	}
	return (byte)((double)(float)turn * 255);
}

// shiftHue converts a pixel to HSV in three bytes, adds to H, and converts it back.
__device__ __forceinline__ void shiftHue(byte *p, int shift) {
	int r = p[0], g = p[1], b = p[2], high = max(max(r, g), b), chroma = high - min(min(r, g), b);
	int h = (byte)((chroma > 0 ? hueOf(r, g, b, high, (float)chroma) : 0) + shift), s = chroma > 0 ? 255 * chroma / high : 0;
	int sector = h * 6 / 255, slope = h * 6 % 255;
	if (sector % 2 == 0) {
		slope = 255 - slope;
	}
	byte middle = (byte)(high - (2 * high * s * slope + 255 * 255) / (2 * 255 * 255));
	byte low = (byte)(high - (2 * high * s + 255) / (2 * 255));
	// The largest channel is R, G, G, B, B, R in sectors 0 to 5, and the smallest one B, B, R, R, G, G.
	sector %= 6;
	int top = (sector + 1) / 2 % 3, bottom = (sector / 2 + 2) % 3;
	p[top] = (byte)high;
	p[bottom] = low;
	p[3 - top - bottom] = middle;
}

// paint applies a step that changes each pixel by itself. mean is what brightness and contrast blend with.
__device__ void paint(byte *p, const viewStep &s, int mean) {
	if (s.kind == VIEW_HUE) {
		shiftHue(p, s.args[0]);
		return;
	}
	int gray = luma(p), from = s.kind == VIEW_SATURATION ? gray : mean;
	for (int c = 0; c < 3; c++) {
		int v = p[c];
		switch (s.kind) {
		case VIEW_GRAY:
			p[c] = (byte)gray;
			break;
		case VIEW_SOLARIZE:
			p[c] = (byte)(v >= s.args[0] ? 255 - v : v);
			break;
		default:
			p[c] = blend(from, v, s.factor);
		}
	}
}

// flip flips an image left to right.
__device__ void flip(byte *pixels, int size) {
	int half = size / 2;
	for (int i = (int)threadIdx.x; i < size * half; i += VIEW_THREADS) {
		int y = i / half, x = i % half;
		byte *left = pixels + 3 * (y * size + x), *right = pixels + 3 * (y * size + size - 1 - x);
		for (int c = 0; c < 3; c++) {
			byte v = left[c];
			left[c] = right[c];
			right[c] = v;
		}
	}
}

// views makes views [views, size, size, 3], normalized, of images [views / 2, side, side, 3]. Each has a list of length steps.
// Blocks make one view after another, in shared memory, or in room bytes each of work unless that is 0: weights, then pixels.
extern "C" __launch_bounds__(VIEW_THREADS)
__global__ void views(const byte *images, const viewStep *steps, act *to, int views, int length, int side, int size,
		float meanR, float meanG, float meanB, float stdR, float stdG, float stdB, byte *work, int room) {
	__shared__ byte shared[2][3 * VIEW_SIDE * VIEW_SIDE];
	__shared__ int sharedWeights[2 * VIEW_WEIGHTS(VIEW_SIDE, VIEW_SIDE)];
	__shared__ unsigned sums[VIEW_THREADS];
	const float means[] = {meanR, meanG, meanB}, stds[] = {stdR, stdG, stdB};
	int own = (int)threadIdx.x, most = max(side, size), *weights = sharedWeights;
	byte *pixels = shared[0], *other = shared[1];
	if (work) {
		weights = (int *)(work + (size_t)blockIdx.x * room);
		pixels = (byte *)(weights + 2 * VIEW_WEIGHTS(most, size));
		other = pixels + 3 * most * most;
	}
	for (int view = (int)blockIdx.x; view < views; view += (int)gridDim.x) {
		const byte *at = images + (size_t)(view % (views / 2)) * side * side * 3;
		const viewStep *list = steps + (size_t)view * length;
		int now = side; // height and width
		if (length == 0 || list->kind != VIEW_CROP) {
#pragma unroll 1
			for (int i = own; i < 3 * side * side; i += VIEW_THREADS) {
				pixels[i] = at[i];
			}
			at = pixels;
		}
		for (int i = 0; i < length && list[i].kind != 0; i++) {
			viewStep s = list[i];
			__syncthreads();
			switch (s.kind) {
			case VIEW_CROP:
				crop(pixels, other, size, at + 3 * (s.args[0] * now + s.args[1]), s.args[2], s.args[3], 3 * now, weights,
					weights + VIEW_WEIGHTS(most, size));
				now = size;
				at = pixels;
				break;
			case VIEW_FLIP:
				flip(pixels, now);
				break;
			case VIEW_BLUR:
				blur(pixels, other, now, s.args);
				break;
			default:
				int mean = 0; // black, for brightness
				if (s.kind == VIEW_CONTRAST) {
					unsigned sum = 0;
					for (int p = own; p < now * now; p += VIEW_THREADS) {
						sum += (unsigned)luma(pixels + 3 * p);
					}
					mean = (int)((double)sumBlock<VIEW_THREADS>(sum, sums) / (now * now) + 0.5);
				}
#pragma unroll 1
				for (int p = own; p < now * now; p += VIEW_THREADS) {
					paint(pixels + 3 * p, s, mean);
				}
			}
		}
		__syncthreads();
		act *out = to + (size_t)view * size * size * 3;
#pragma unroll 1
		for (int p = own; p < size * size; p += VIEW_THREADS) {
#pragma unroll
			for (int c = 0; c < 3; c++) {
				out[3 * p + c] = store(((float)pixels[3 * p + c] / 255 - means[c]) / stds[c]);
			}
		}
		__syncthreads(); // pixels are free for the next view
	}
}
