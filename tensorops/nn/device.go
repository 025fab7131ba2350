package nn

import "github.com/sdr-ml/sdr/tensorops/kernels"

// Device computes the layers of a network. M is its type of array, which holds activations in NHWC; M's zero value
// means nil. The device decides where parameters and gradients are stored; a Layer says which parameters an operation
// reads and whose gradients it overwrites. Operations execute in the order of the calls.
type Device[M any] interface {
	// Product returns a layer's convolution; for a linear layer, images have one pixel.
	Product(l Layer, c kernels.Conv) Product[M]
	// Norm returns what follows a layer's product, for [rows, l.Out]. The rows consist of one equal part per view, with
	// separate statistics.
	Norm(l Layer, rows, views int) Norm[M]
	// MaxPool returns 3x3 max-pooling with stride 2 and padding 1 of images of size x size pixels; train adds the
	// backward pass.
	MaxPool(size, channels, batch int, train bool) MaxPool[M]
	// AvgPool returns global average pooling of images with the given number of pixels.
	AvgPool(pixels, channels, batch int) AvgPool[M]
	// ClearGrads sets the gradients of a layer's parameters to 0.
	ClearGrads(l Layer)
	// Memory allocates one block of size elements and returns a function that slices the array [from, to) from it.
	Memory(size int) (cut func(from, to int) M)
	// Alignment returns the alignment of arrays in the block, in elements.
	Alignment() int
}

// Product is a convolution without bias, and its gradients. Arrays must not overlap.
type Product[M any] interface {
	// Forward computes y [N,OutH,OutW,Cout] from x [N,H,W,Cin] and the weights.
	Forward(x, y M)
	// BackwardWeights computes the gradient of the weights from x and the gradient dy of y.
	BackwardWeights(x, dy M)
	// BackwardData computes the gradient dx of x from the gradient dy of y and the weights.
	BackwardData(dy, dx M)
}

// Norm is BatchNorm or a bias, then an optional residual sum and an activation.
type Norm[M any] interface {
	// Forward computes y from x; residual is added before the activation and may be nil. y may be x.
	Forward(x, residual, y M)
	// Reapply computes y from x as the last Forward did, which must have had no residual.
	Reapply(x, y M)
	// Backward computes dx, the gradient of x, from the gradient g1 (+ g2 unless nil) of y, and the gradients of the
	// layer's scale and shift. With an activation or g2, it writes to masked the gradient before the activation, which is
	// also the residual's. masked may be g1 or dx; dx may be g1, g2, x or masked. x and y are those of the forward pass.
	Backward(g1, g2, x, y, masked, dx M)
}

// MaxPool is max-pooling.
type MaxPool[M any] interface {
	// Forward computes y [batch, out, out, c] from x [batch, size, size, c]; out is (size-1)/2 + 1.
	Forward(x, y M)
	// Backward computes dx from the gradient g1 (+ g2 unless nil) of y.
	Backward(g1, g2, dx M)
}

// AvgPool is global average pooling.
type AvgPool[M any] interface {
	// Forward computes y [batch, c] from x [batch, pixels, c].
	Forward(x, y M)
	// Backward computes dx from the gradient dy of y.
	Backward(dy, dx M)
}
