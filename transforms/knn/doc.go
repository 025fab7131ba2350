// Package knn finds and classifies by nearest neighbours: exactly, by cosine
// similarity.
//
//   - [Search]: the most similar rows of another collection;
//   - [Classify]: the class that the neighbours among labelled rows vote for;
//   - [ClassifySets], [LeaveOneOut]: the same where each element is a problem by
//     itself, such as one task under one of many models.
//
// Classification is the weighted vote of Wu et al. 2018 (arXiv 1805.01978) that DINO
// and most self-supervised work reports; package tensorops/nearest computes it.
//
// Inputs and outputs. PCollections of *record.Batch with a column of vectors,
// fixed_size_list<float32> or list<float32> of equal lengths. Labels are numbers from
// 0 (int64) or names (string). All other columns are carried along; what is found is
// added to them.
//
// Determinism. Results are the same to the bit on every runner, for any bundling and
// order of the batches and any number of threads. Of equally similar rows the one
// whose other columns sort first is the nearer neighbour, of equal votes the lower
// class wins; in ClassifySets and LeaveOneOut, the earlier row of a batch.
//
// Errors. Vectors of different widths, values that are not finite, missing labels
// and columns that the output needs fail the pipeline. A configuration that is not
// valid panics where the pipeline is built.
//
// The rows that neighbours are looked for among must fit into a worker's memory.
package knn
