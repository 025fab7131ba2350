package nn

import "github.com/sdr-ml/sdr/tensorops/kernels"

// Device computes the layers of a network. Its arrays are of type M, of which the zero value is no array; they hold
// activations, NHWC. Where parameters and their gradients lie is the device's affair: a Layer says which ones an
// operation reads and whose gradients it overwrites. Operations are run in the order in which they are called.
type Device[M any] interface {
	// Product makes the convolution of a layer; a linear layer's images have one pixel.
	Product(l Layer, c kernels.Conv) Product[M]
	// Norm makes what follows the product of a layer, for so many rows of l.Out channels. The rows are views equal
	// consecutive parts with statistics of their own.
	Norm(l Layer, rows, views int) Norm[M]
	// MaxPool makes 3x3 max-pooling with stride 2 and padding 1 of images of size x size pixels, with a backward pass
	// or without one.
	MaxPool(size, channels, batch int, train bool) MaxPool[M]
	// AvgPool makes global average pooling of images with so many pixels.
	AvgPool(pixels, channels, batch int) AvgPool[M]
	// ClearGrads sets the gradients of a layer's parameters to 0.
	ClearGrads(l Layer)
	// Memory allocates one block for so many elements and returns what cuts the array [from, to) from it.
	Memory(size int) (cut func(from, to int) M)
	// Alignment is the number of elements to whose multiples arrays are aligned in the block.
	Alignment() int
}

// Product is a convolution without bias at work, with its gradients. Arrays must not overlap.
type Product[M any] interface {
	// Forward computes y [N,OutH,OutW,Cout] from x [N,H,W,Cin] and the weights.
	Forward(x, y M)
	// BackwardWeights computes the gradient of the weights from x and the gradient dy of y.
	BackwardWeights(x, dy M)
	// BackwardData computes the gradient dx of x from the gradient dy of y and the weights.
	BackwardData(dy, dx M)
}

// Norm is BatchNorm or a bias at work, then the residual sum and ReLU where the network has them.
type Norm[M any] interface {
	// Forward sets y from x; residual is added before ReLU and may be none. y may be x.
	Forward(x, residual, y M)
	// Reapply sets y from x as the last Forward did, which had no residual.
	Reapply(x, y M)
	// Backward sets dx, the gradient of x, from the gradient g1 (+ g2 unless none) of y, and the gradients of the
	// layer's scale and shift. With ReLU or g2, masked receives the gradient before ReLU and after the residual sum,
	// which is also that of the residual. masked may be g1 or dx; dx may be g1, g2, x or masked. x and y are those of
	// the forward pass.
	Backward(g1, g2, x, y, masked, dx M)
}

// MaxPool is max-pooling at work.
type MaxPool[M any] interface {
	// Forward sets y [batch, out, out, c] from x [batch, size, size, c], out being (size-1)/2 + 1.
	Forward(x, y M)
	// Backward sets dx from the gradient g1 (+ g2 unless none) of y.
	Backward(g1, g2, dx M)
}

// AvgPool is global average pooling at work.
type AvgPool[M any] interface {
	// Forward sets y [batch, c] from x [batch, pixels, c].
	Forward(x, y M)
	// Backward sets dx from the gradient dy of y.
	Backward(dy, dx M)
}
