package kernels

// Vectors is a device, such as a GPU, that compares many vectors with many others faster than the threads of a pool. Its
// methods may be called from several goroutines; calls run one at a time. They report false, and do nothing, where the
// threads are to compute instead: the work is too small to pay for copying its operands, or the device has no memory for it.
type Vectors interface {
	// Search does a search.
	Search(s Search) (done bool, err error)
	// Hold takes rows of the given width, in parts, for assignments to k centroids each. The rows stay on the device if they
	// fit and are copied there for each assignment otherwise; they must not change.
	Hold(parts [][]float32, width, k int) (held Held, done bool, err error)
}

// Held are rows that a device assigns to centroids.
type Held interface {
	// Assign does an assignment.
	Assign(a Assignment) (done bool, err error)
	// Close gives the device's memory back.
	Close() error
}

// Search is a search for the rows of a matrix that have the largest inner products with those of another one.
type Search struct {
	// Base is [rows, Width] and Query [queries, Width], row-major.
	Base, Query []float32
	Width       int
	// Others leaves out the row of Base that has the query's number. Query is Base then.
	Others bool
	// Index is [queries, K] and Similarity their inner products, largest first, on ties the lower index. The caller fills
	// them with -1 and -Inf, which stay where there are fewer rows. NaNs are never found.
	K          int
	Index      []int32
	Similarity []float32
}

// Assignment finds for each held row the centroid of its parent with the lowest squared distance plus price, on ties the
// first. Products in float32 only exclude centroids: with p the product of a row and a centroid, and length that of the row,
// half the cost, less half the row's squared length, is between Low - p - length·Reach and High - p + length·Reach. The rest is
// decided by distances in float64 that add in the order of vecs.SquareDistance, so the result is exact.
type Assignment struct {
	// Order lists the rows by parent; those of parent p are Order[Starts[p]:Starts[p+1]]. It is nil if there is one parent.
	Order  []int32
	Starts []int
	// Centroids is [parents, K, width]; Low, High, Reach and Prices are [parents, K].
	K                int
	Centroids        []float32
	Low, High, Reach []float32
	Prices           []float64
	// Longest is a length that no row exceeds.
	Longest float32
	// Clusters becomes each row's centroid, as an index of [parents, K], and Squares, unless nil, its squared distance.
	Clusters []int32
	Squares  []float64
	// Sums, unless nil, are set.
	Sums *FixedSums
}

// FixedSums are sums of the rows of each centroid in fixed point, so that the order does not matter: a number is multiplied
// by a scale and rounded to the nearest integer, half to even.
type FixedSums struct {
	// Sums is [parents, K, stride]: the vector times the row's weight, unless Vectors is false; the squared distance times the
	// weight, if an assignment has Squares; the number of rows; and, if there are Weights, the weight.
	Sums    []int64
	Vectors bool
	// Weights are those of the rows; nil means 1.
	Weights []float32
	// Unit, Square and Weight are the scales.
	Unit, Square, Weight float64
}

// Offload makes the pool's users compute with vectors on a device; nil means on the pool. Call it before its first use.
func (p *Pool) Offload(to Vectors) { p.vectors = to }

// Vectors returns the device that Offload set, or nil.
func (p *Pool) Vectors() Vectors { return p.vectors }
