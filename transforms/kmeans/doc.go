// Package kmeans clusters the rows of Arrow batches with k-means, as one Beam job ([Cluster]): flat or hierarchical,
// Euclidean or spherical, with optional weights of the rows and limits on the cluster sizes, and reproducible. It also
// assigns rows to given centroids ([Assign]) and whitens vectors ([Whiten]). [WhitenBatch] and [AssignBatch] do both with
// what an earlier pipeline left, without one.
//
// Inputs and outputs. PCollections of *record.Batch with a column of vectors: fixed_size_list<float32>, or
// list<float32> with lists of equal length. All other columns identify a row and are passed through. Cluster and Assign
// replace the vectors by the columns code (string) and distance (float32); centroids are rows [Centroid].
//
// Determinism. Results are bitwise identical on every runner, for any bundling and order of the batches. Sums are int64
// fixed point; their unit is derived from the longest vector and the number of rows, so they are exact and cannot
// overflow. Products in float32 only exclude clusters; float64, with the same rounding everywhere, decides between the
// rest, so clustering depends neither on the number of threads nor on the instruction set, nor on whether a GPU does it.
// Ties go to the lowest cluster. Rows are ordered by a hash of their content. Clustering does not depend on how rows are
// split into batches either; whitening does, in the last bits.
//
// Errors. Vectors of different widths, and a null, a NaN, an infinity or a value above 1e15 fail the pipeline with an
// error that names the row; so do input columns that have the name of an output column. An invalid configuration panics
// at pipeline construction.
//
// All loops are unrolled into the pipeline graph. One iteration is a ParDo that assigns the rows of a batch, with the
// model (all centroids) as a side input; a global combine of the sums; and a ParDo that turns them into the next model.
// All parents of a level are clustered at once. After convergence the remaining iterations cost little. With
// Config.Local the same passes run as a loop over rows in memory: moving all rows to a worker and back costs a runner
// more than an iteration computes. If the process has a GPU (compute.Use), the rows of such a loop go there once.
package kmeans
