// Package kmeans clusters rows of Arrow batches by k-means as one Beam job:
// hierarchically, with limits on the cluster sizes, and reproducibly ([Cluster]). It
// also gives rows to centroids that are known ([Assign]) and whitens vectors
// ([Whiten]).
//
// Inputs and outputs. PCollections of *record.Batch with a column of vectors,
// fixed_size_list<float32> or list<float32> of equal lengths; all other columns
// identify a row and are carried along. Cluster and Assign put code (string) and
// distance (float32) in the place of the vectors; centroids are rows [Centroid].
//
// Determinism. Results are bitwise the same on every runner, for any bundling and
// any order of the batches: sums are int64 fixed point, whose unit follows from the
// largest value and the number of rows, so that they are exact and cannot overflow;
// ties go to the lowest cluster; rows are ordered by a hash of their content.
// Clustering does not depend on how rows are cut into batches either; whitening
// does, in the last bits.
//
// Errors. Vectors of different widths, a null, and a NaN, an infinity or a value
// above 1e15 fail the pipeline with an error that names the row; so do columns
// that the output needs. A configuration that is not valid panics where the
// pipeline is built.
//
// Every loop is unrolled into the graph. An iteration is a ParDo that assigns
// the rows of a batch, with the model (all centroids) as a side input, one
// global combine of sums, and a ParDo that turns them into the next model.
// All parents of a level are clustered at once. When nothing changes any more
// the remaining iterations cost little.
package kmeans
