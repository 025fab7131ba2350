// Package logistic is multinomial logistic regression, the linear probe on frozen features: the usual measure of how
// linearly separable a representation is.
//
// Features are standardised (mean 0 and standard deviation 1 of every column on the training images), and the weights
// minimise, by L-BFGS,
//
//	mean cross-entropy + |weights|² / (2·C·rows), intercepts not penalised,
//
// which is scikit-learn's make_pipeline(StandardScaler(), LogisticRegression(C=C)). (With two classes scikit-learn
// fits one logit instead of two, which corresponds to half the C here.) The strength C is chosen on a held-out fifth of
// the training images, never on test images.
//
// Matrices are tensors of package dense and computed on their engine. Results are the same from run to run and for any
// number of threads.
package logistic
