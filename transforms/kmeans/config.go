package kmeans

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// How the initial centroids of a level are chosen.
const (
	// PlusPlus draws them by greedy k-means++ (Arthur and Vassilvitskii, 2007) from a sample of the rows.
	PlusPlus = "k-means++"
	// Parallel draws more than needed from all rows, in a few passes, and then k of these by weighted k-means++
	// (k-means||; Bahmani et al., 2012).
	Parallel = "k-means||"
)

// Inits lists the ways to choose initial centroids.
var Inits = []string{PlusPlus, Parallel}

// Config configures [Cluster].
type Config struct {
	// Column is the name of the column of vectors: fixed_size_list<float32>, or list<float32> with lists of equal length.
	// All other columns identify a row and are passed through.
	Column string
	// Weight is the name of a column of weights (float32), at least 0; empty means that every row has weight 1. Sizes and
	// Balance count rows whatever they weigh.
	Weight string
	// Branching is the number of clusters per parent at each level, 2 to 65,536: {4, 4} makes 4 clusters, then 4 in each.
	Branching []int
	// Iterations is the maximum number of Lloyd iterations per level.
	Iterations int
	// Tolerance ends the iterations of a level once one lowers the inertia by no more than this fraction of it. With 0
	// they end when nothing changes.
	Tolerance float64
	// Spherical clusters directions: vectors and centroids are scaled to length 1. Distances and inertia are of the scaled
	// ones; a squared distance is 2 - 2·cosine.
	Spherical bool
	// Init is one of Inits; empty means PlusPlus.
	Init string
	// Seed seeds the choice of initial centroids.
	Seed uint64
	// Balance limits the sizes of a parent's clusters to between 1/Balance and Balance times their mean, up to rounding.
	// It is at least 1; 0 means no limits. It allows up to 1,024 clusters per parent.
	Balance float64
	// Start, if given, holds the Branching[0] initial centroids of the first level, such as those of an earlier
	// clustering; otherwise Init chooses them. It is init of scikit-learn's KMeans.
	Start [][]float32
	// Local keeps all rows in the memory of the worker process that first reads them and clusters them there, instead of
	// passing them through the runner once per iteration; results are bitwise the same. It is for data that fit and for
	// runners with one worker process, such as prism and direct; elsewhere the pipeline fails and says so.
	Local bool
	// Gather, if given, is a folder that all workers see: the rows are written there, and one worker reads and clusters them,
	// to the same result bit by bit. It is for data that fit in a worker's memory, and for runners of several processes that
	// take long to prepare a job of many passes, such as Flink. Remove the folder when the pipeline has ended.
	Gather string
}

// The most clusters of a parent, of a parent with Balance, and altogether.
const (
	maxBranching = 1 << 16
	maxBalanced  = 1 << 10
	maxClusters  = 1 << 20
)

// Validate reports all invalid fields.
func (c Config) Validate() error {
	var errs []error
	if c.Column == "" {
		errs = append(errs, errors.New("kmeans: Column is empty; name the column of vectors"))
	}
	if c.Weight != "" && c.Weight == c.Column {
		errs = append(errs, fmt.Errorf("kmeans: Weight and Column are both %q; weights need a column of their own", c.Weight))
	}
	if len(c.Branching) == 0 {
		errs = append(errs, errors.New("kmeans: Branching is empty; set the number of clusters for at least one level"))
	}
	most := maxBranching
	if c.Balance != 0 {
		most = maxBalanced
	}
	total := 1
	for level, k := range c.Branching {
		if k < 2 || k > most {
			errs = append(errs, fmt.Errorf("kmeans: Branching[%d] is %d; it must be 2 to %d", level, k, most))
			continue
		}
		if total *= k; total > maxClusters {
			errs = append(errs, fmt.Errorf("kmeans: Branching %v makes more than %d clusters", c.Branching, maxClusters))
			break
		}
	}
	if c.Iterations < 1 {
		errs = append(errs, fmt.Errorf("kmeans: Iterations is %d; it must be at least 1", c.Iterations))
	}
	if !(c.Tolerance >= 0 && c.Tolerance < 1) {
		errs = append(errs, fmt.Errorf("kmeans: Tolerance is %v; it must be at least 0 and below 1", c.Tolerance))
	}
	if c.Init != "" && !slices.Contains(Inits, c.Init) {
		errs = append(errs, fmt.Errorf("kmeans: Init is %q; want one of %s", c.Init, strings.Join(Inits, ", ")))
	}
	if c.Balance != 0 && !(c.Balance >= 1) {
		errs = append(errs, fmt.Errorf("kmeans: Balance is %v; it must be 0 (no limits) or at least 1", c.Balance))
	}
	if c.Start != nil && len(c.Branching) > 0 && len(c.Start) != c.Branching[0] {
		errs = append(errs, fmt.Errorf("kmeans: Start has %d points; Branching[0] asks for %d", len(c.Start), c.Branching[0]))
	}
	return errors.Join(errs...)
}
