// Package nn holds the networks that are pre-trained: ResNet backbones with projector and predictor heads, their
// forward and backward passes, the self-supervised losses, BatchNorm re-estimation and model files.
//
// A network's weights are one flat []float32 whose Layout tells which parameter lies where, so optimizers, sub-nets
// and checkpoints work on slices. Names, initialisation and arithmetic are torchvision's and PyTorch's. Images and
// activations are NHWC, convolution weights [KH, KW, Cin, Cout], linear weights [In, Out]; model files hold
// torchvision's layouts.
//
//	net := nn.New(backbone, heads, 32, 256, 2, pool, nn.Train) // 128 images, two views each
//	net.Layout.Init(net.Params, random)
//	loss := nn.NewNegCosine(256, heads.ProjectorDim, pool)     // SimSiam
//	for ... {
//		net.Forward(images, nn.UpdateStats)
//		clear(dP)
//		value := loss.Loss(net.P, net.Z, dP, 1)
//		net.Backward(nil, dP)
//		sgd.Step(net.Params, net.Grads, velocity, lr)
//	}
//
// Results are bitwise the same for any number of threads: every sum over a batch is cut into parts by the shape alone
// and the parts are added in order. A training step allocates nothing.
package nn
