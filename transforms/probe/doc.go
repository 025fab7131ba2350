// Package probe is the linear probe as Beam transforms: a multinomial logistic
// regression on frozen features, the usual measure of how linearly separable a
// representation is.
//
//   - [Fit]: labelled rows to a classifier;
//   - [Predict]: the classes of rows by a classifier;
//   - [ClassifySets]: both where each element is a problem by itself, such as one
//     task under one of many models.
//
// It is scikit-learn's make_pipeline(StandardScaler(), LogisticRegression(C=C)) with C
// chosen on held-out rows; package tensorops/logistic computes it.
//
// Inputs and outputs. PCollections of *record.Batch with a column of vectors,
// fixed_size_list<float32> or list<float32> of equal lengths. Labels are numbers from
// 0 (int64) or names (string). A classifier is a batch with a row [Class] for each
// class, so that it can be written and read as any other; predictions are added to the
// columns of the rows they are for.
//
// Determinism. Results are the same to the bit on every runner, for any bundling and
// order of the batches and any number of threads: Fit orders the rows by what they
// hold. In ClassifySets the order of the rows of a batch counts.
//
// Errors. Vectors of different widths, values that are not finite, missing labels
// and columns that the output needs fail the pipeline. A configuration that is not
// valid panics where the pipeline is built.
//
// The rows of a Fit must fit into a worker's memory.
package probe
