// Package logistic fits multinomial logistic regression, the linear probe on frozen features: the usual measure of how
// linearly separable a representation is.
//
// Features are standardized (every column has mean 0 and standard deviation 1 on the training images). The weights
// minimize
//
//	mean cross-entropy + |weights|² / (2·C·rows), intercepts not penalized,
//
// with L-BFGS. This is scikit-learn's make_pipeline(StandardScaler(), LogisticRegression(C=C)), except that with two
// classes scikit-learn fits one logit instead of two, which corresponds to half the C here. C is chosen on a held-out
// fifth of the training images, never on test images.
//
// Matrices are tensors of package dense; computation runs on their engine. Results are the same from run to run and for
// any number of threads.
package logistic
