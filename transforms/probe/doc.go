// Package probe provides the linear probe as Beam transforms: multinomial logistic regression on frozen features, the
// usual measure of how linearly separable a representation is.
//
//   - [Fit]: fits a classifier to labeled rows;
//   - [Predict]: predicts the classes of rows with a classifier;
//   - [ClassifySets]: does both where each element is an independent problem, such as one task under one of many
//     models.
//
// It is scikit-learn's make_pipeline(StandardScaler(), LogisticRegression(C=C)) with C chosen on held-out rows; package
// tensorops/logistic computes it.
//
// Inputs and outputs. PCollections of *record.Batch with a column of vectors: fixed_size_list<float32>, or
// list<float32> with lists of equal length. Labels are class numbers from 0 (int64) or names (string), and in ClassifySets
// also lists of class numbers (list<int32>) of rows that may have several classes: then each class has a regression of its
// own, and the result is every class's probability, up to the highest class (list<double>). A classifier is
// a batch with one row [Class] per class, so it can be written and read like any other; predictions are added to the
// columns of their rows.
//
// Determinism. Results are bitwise identical on every runner, for any bundling and order of the batches and any number
// of threads: Fit sorts the rows by content. In ClassifySets the order of a batch's rows matters.
//
// Errors. Vectors of different widths, non-finite values, missing labels, and input columns that have the name of an
// output column fail the pipeline. An invalid configuration panics at pipeline construction.
//
// The rows of a Fit must fit into a worker's memory.
package probe
