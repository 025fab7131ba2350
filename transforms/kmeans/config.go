package kmeans

import (
	"errors"
	"fmt"
)

// Config says how to cluster.
type Config struct {
	// Column holds the vectors: fixed_size_list<float32>, or list<float32> of
	// equal lengths. All other columns identify a row and are carried along.
	Column string
	// Branching is the number of clusters at each level, 2 to 36: {4, 4}
	// makes 4 clusters and then 4 in each of them.
	Branching []int
	// Iterations is the largest number of Lloyd iterations a level.
	Iterations int
	// Seed chooses the starting points.
	Seed uint64
	// Balance limits the clusters of one parent to at most Balance times and
	// at least 1/Balance of their mean size, where whole numbers allow it. It
	// is at least 1; 0 sets no limits.
	Balance float64
	// Start, if given, holds the Branching[0] starting points of the first level,
	// such as the centroids of an earlier clustering, instead of those that
	// k-means++ draws. It is init of scikit-learn's KMeans.
	Start [][]float32
}

// digits are the symbols of cluster codes.
const digits = "0123456789abcdefghijklmnopqrstuvwxyz"

// Validate reports every setting that [Cluster] cannot work with.
func (c Config) Validate() error {
	var errs []error
	if c.Column == "" {
		errs = append(errs, errors.New("kmeans: Column is empty; name the column of vectors"))
	}
	if len(c.Branching) == 0 {
		errs = append(errs, errors.New("kmeans: Branching is empty; give the number of clusters of at least one level"))
	}
	total := 1
	for level, k := range c.Branching {
		if k < 2 || k > len(digits) {
			errs = append(errs, fmt.Errorf("kmeans: Branching[%d] is %d; it must be 2 to %d", level, k, len(digits)))
			continue
		}
		if total *= k; total > 1<<20 {
			errs = append(errs, fmt.Errorf("kmeans: Branching %v makes more than %d clusters", c.Branching, 1<<20))
			break
		}
	}
	if c.Iterations < 1 {
		errs = append(errs, fmt.Errorf("kmeans: Iterations is %d; it must be at least 1", c.Iterations))
	}
	if c.Balance != 0 && !(c.Balance >= 1) {
		errs = append(errs, fmt.Errorf("kmeans: Balance is %v; it must be 0 (no limits) or at least 1", c.Balance))
	}
	if c.Start != nil && len(c.Branching) > 0 && len(c.Start) != c.Branching[0] {
		errs = append(errs, fmt.Errorf("kmeans: Start holds %d points; Branching[0] asks for %d", len(c.Start), c.Branching[0]))
	}
	return errors.Join(errs...)
}
