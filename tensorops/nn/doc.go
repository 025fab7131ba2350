// Package nn implements the networks to pre-train: ResNet and MobileNetV2 backbones with projector and predictor heads, their forward
// and backward passes, self-supervised losses, BatchNorm re-estimation and model files.
//
// A network's weights are one flat []float32 whose Layout says where each parameter is, so that optimizers, sub-nets
// and checkpoints work on slices. Names, initialization and arithmetic follow torchvision and PyTorch. Images and
// activations are NHWC, convolution weights [KH, KW, Cin, Cout], linear weights [In, Out]; model files have
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
// Results are bitwise identical for any number of threads: how a sum over the batch is split depends on the shape
// alone, and the partial sums are added in order. A training step allocates nothing.
package nn
