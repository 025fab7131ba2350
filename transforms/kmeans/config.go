package kmeans

import (
	"errors"
	"fmt"
)

// Config configures [Cluster].
type Config struct {
	// Column is the name of the column of vectors: fixed_size_list<float32>, or list<float32> with lists of equal length.
	// All other columns identify a row and are passed through.
	Column string
	// Branching is the number of clusters per parent at each level, 2 to 36: {4, 4} makes 4 clusters, then 4 in each.
	Branching []int
	// Iterations is the maximum number of Lloyd iterations per level.
	Iterations int
	// Seed seeds the choice of initial centroids.
	Seed uint64
	// Balance limits the sizes of a parent's clusters to between 1/Balance and Balance times their mean, up to rounding.
	// It is at least 1; 0 means no limits.
	Balance float64
	// Start, if given, holds the Branching[0] initial centroids of the first level, such as those of an earlier
	// clustering; otherwise k-means++ draws them. It is init of scikit-learn's KMeans.
	Start [][]float32
}

// maxBranching is the largest number of clusters that one splits into.
const maxBranching = 1 << 16

// Validate reports all invalid fields.
func (c Config) Validate() error {
	var errs []error
	if c.Column == "" {
		errs = append(errs, errors.New("kmeans: Column is empty; name the column of vectors"))
	}
	if len(c.Branching) == 0 {
		errs = append(errs, errors.New("kmeans: Branching is empty; set the number of clusters for at least one level"))
	}
	total := 1
	for level, k := range c.Branching {
		if k < 2 || k > maxBranching {
			errs = append(errs, fmt.Errorf("kmeans: Branching[%d] is %d; it must be 2 to %d", level, k, maxBranching))
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
		errs = append(errs, fmt.Errorf("kmeans: Start has %d points; Branching[0] asks for %d", len(c.Start), c.Branching[0]))
	}
	return errors.Join(errs...)
}
