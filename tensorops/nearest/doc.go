// Package nearest does exact nearest-neighbor search and kNN classification on dense features: [Search] finds the rows
// with the highest inner product; [Classify] and [LeaveOneOut] predict the class that these vote for.
//
// Classification is the weighted vote of Wu et al. 2018 (arXiv 1805.01978), which DINO and most self-supervised work
// report: the K training images with the highest cosine similarity vote for their class with weight
// exp(similarity/Temperature).
//
// Matrices are tensors of package dense; computation runs on their engine, or on the device of its pool. Results on the CPU
// are the same from run to run and for any number of threads: ties in similarity go to the lower index, ties in votes to
// the lower class. A GPU changes similarities in the last bits.
package nearest
