// Package knn does exact nearest-neighbor search and kNN classification by cosine similarity.
//
//   - [Search]: the most similar rows of another collection;
//   - [Classify]: the class that the nearest labeled rows vote for;
//   - [ClassifySets], [LeaveOneOut]: the same where each element is an independent problem, such as one task under one
//     of many models.
//
// Classification is the weighted vote of Wu et al. 2018 (arXiv 1805.01978), which DINO and most self-supervised work
// report; package tensorops/nearest computes it.
//
// Inputs and outputs. PCollections of *record.Batch with a column of vectors: fixed_size_list<float32>, or
// list<float32> with lists of equal length. Labels are class numbers from 0 (int64), names (string), or lists of class
// numbers (list<int32>) of rows that may have several classes: of these, the result is every class's share of the votes, up
// to the highest class (list<double>). All other columns are passed through; the results are added to them.
//
// Determinism. Results are bitwise identical on every runner, for any bundling and order of the batches and any number
// of threads. Ties in similarity go to the row whose other columns sort first (in ClassifySets and LeaveOneOut, to the
// earlier row of the batch), ties in votes to the lower class. A GPU (compute.Use) changes similarities in the last bits,
// and with them the order of nearly equal ones.
//
// Errors. Vectors of different widths, non-finite values, missing labels, and input columns that have the name of an
// output column fail the pipeline. An invalid configuration panics at pipeline construction.
//
// The rows that are searched must fit into a worker's memory.
package knn
