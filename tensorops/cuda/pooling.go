package cuda

// poolImages is CUDA's limit on the number of blocks in z, over which images are distributed.
const poolImages = 1<<16 - 1

// maxPool is nn.MaxPool on the GPU: 3x3 max-pooling with stride 2 and padding 1.
type maxPool struct {
	q                          queue
	size, out, channels, batch int

	argmax Buffer // bytes [batch, out, out, channels]: position in the window; zero without a backward pass
}

// newMaxPool returns the pooling of images [batch, size, size, channels]; train adds the backward pass.
func newMaxPool(q queue, m memory, size, channels, batch int, train bool) *maxPool {
	p := &maxPool{q: q, size: size, out: (size-1)/2 + 1, channels: channels, batch: batch}
	if train {
		p.argmax = m.bytes(batch * p.out * p.out * channels)
	}
	return p
}

// grid has one thread per pixel and group of channels, for images of size x size pixels.
func (p *maxPool) grid(size int) dim3 {
	return dim3{uint32(ceil(size*groupsOf(p.channels), poolThreads)), uint32(size), uint32(min(p.batch, poolImages))}
}

// Forward computes y [batch, out, out, channels] from x [batch, size, size, channels].
func (p *maxPool) Forward(x, y Buffer) {
	p.q.launch("maxpool_forward", p.grid(p.out), dim1(poolThreads), x, y, p.argmax, p.size, p.out, p.channels, p.batch)
}

// Backward computes dx from the gradient g1 (+ g2 unless zero) of y.
func (p *maxPool) Backward(g1, g2, dx Buffer) {
	p.q.launch("maxpool_backward", p.grid(p.size), dim1(poolThreads), g1, g2, p.argmax, dx, p.size, p.out,
		p.channels, p.batch)
}

// avgPool is nn.AvgPool on the GPU: global average pooling.
type avgPool struct {
	q                       queue
	pixels, channels, batch int
}

// newAvgPool returns the pooling of images [batch, pixels, channels].
func newAvgPool(q queue, pixels, channels, batch int) *avgPool {
	return &avgPool{q, pixels, channels, batch}
}

func (p *avgPool) grid() dim3 { return dim1(ceil(p.batch*groupsOf(p.channels), poolThreads)) }

// Forward computes y [batch, channels] from x [batch, pixels, channels].
func (p *avgPool) Forward(x, y Buffer) {
	p.q.launch("avgpool_forward", p.grid(), dim1(poolThreads), x, y, p.pixels, p.channels, p.batch)
}

// Backward computes dx from the gradient dy of y.
func (p *avgPool) Backward(dy, dx Buffer) {
	p.q.launch("avgpool_backward", p.grid(), dim1(poolThreads), dy, dx, p.pixels, p.channels, p.batch)
}
