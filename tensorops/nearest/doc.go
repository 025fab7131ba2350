// Package nearest is exact nearest-neighbour search and classification on dense features: [Search] for the rows of
// highest inner product, [Classify] and [LeaveOneOut] for what they vote for.
//
// Classification is the weighted vote of Wu et al. 2018 (arXiv 1805.01978) that DINO and most self-supervised work
// reports: the K training images with the highest cosine similarity vote for their class with weight
// exp(similarity/Temperature).
//
// Matrices are tensors of package dense and computed on their engine. Results are the same from run to run and for any
// number of threads: of equal similarities the lower index is the nearer neighbour, and of equal votes the lower class
// wins.
package nearest
