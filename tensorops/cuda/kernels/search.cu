// Nearest neighbors: the rows of a base with the largest products with a query's.

// TOP is the largest number of neighbors, and PENDING that of products that wait to be merged with the best so far. A
// thread looks at SCAN products before the block sees whether that many more may come.
#define TOP 1024
#define PENDING 1024
#define SCAN 2

// ENTRIES is the number of best and pending products per thread, at most.
#define ENTRIES ((TOP + PENDING) / THREADS)

// search_rows merges a row of products [queries, columns] into the k best of its query so far: best and index [queries, k],
// largest first, on ties the lower index. The first column is row first of the base, all of whose rows so far were before
// it. With others, the row self + query is left out. A block has one query.
extern "C" __launch_bounds__(THREADS)
__global__ void search_rows(const float *products, float *best, int *index, int columns, int k, int first, int others, int self) {
	__shared__ float value[TOP + PENDING]; // the k best, then those that are pending
	__shared__ int number[TOP + PENDING];
	__shared__ int pending;
	size_t query = blockIdx.x;
	int at = (int)threadIdx.x, own = others ? self + (int)query : -1;
	products += query * columns;
	best += query * k;
	index += query * k;
	for (int i = at; i < k; i += THREADS) {
		value[i] = best[i];
		number[i] = index[i];
	}
	if (at == 0) {
		pending = 0;
	}
	__syncthreads();
	for (int from = 0; from < columns; from += SCAN * THREADS) {
		float least = value[k - 1];
#pragma unroll
		for (int u = 0; u < SCAN; u++) {
			int j = from + u * THREADS + at;
			if (j < columns && products[j] > least && first + j != own) { // not NaN
				int to = k + atomicAdd(&pending, 1);
				value[to] = products[j];
				number[to] = first + j;
			}
		}
		__syncthreads();
		int n = pending;
		__syncthreads(); // before it changes
		if (n == 0 || (n <= PENDING - SCAN * THREADS && from + SCAN * THREADS < columns)) {
			continue;
		}
		// An entry's place is the number of those that are better. Pending ones come after equal ones among the best, which
		// have lower numbers and are in order already. So the order in which they became pending makes no difference.
		float v[ENTRIES];
		int id[ENTRIES], place[ENTRIES];
#pragma unroll
		for (int r = 0; r < ENTRIES; r++) {
			int e = r * THREADS + at;
			if (e < k + n) {
				v[r] = value[e];
				id[r] = number[e];
				place[r] = e;
				if (e >= k) {
					int low = 0, high = k;
					while (low < high) {
						int middle = (low + high) / 2;
						if (value[middle] >= v[r]) {
							low = middle + 1;
						} else {
							high = middle;
						}
					}
					place[r] = low;
				}
				for (int p = k; p < k + n; p++) {
					place[r] += value[p] > v[r] || (e >= k && value[p] == v[r] && number[p] < id[r]);
				}
			}
		}
		__syncthreads();
#pragma unroll
		for (int r = 0; r < ENTRIES; r++) {
			if (r * THREADS + at < k + n && place[r] < k) {
				value[place[r]] = v[r];
				number[place[r]] = id[r];
			}
		}
		if (at == 0) {
			pending = 0;
		}
		__syncthreads();
	}
	for (int i = at; i < k; i += THREADS) {
		best[i] = value[i];
		index[i] = number[i];
	}
}
