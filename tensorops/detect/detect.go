// Package detect implements a single-stage detector of objects, FCOS (Tian et al., arXiv 1904.01355): a feature pyramid
// on the maps of a backbone's last stages, and a head that all levels share, which tells for every point of every level
// the class, the distances to the sides of the object's box and how central the point is. Names, targets, losses and
// decoding are torchvision's (torchvision.models.detection.FCOS).
//
//	net := detect.New(cfg, maps, batch, pool, nn.Train) // maps: the shapes of the backbone's
//	net.Init(random)
//	for ... {
//		net.Forward(values)               // of the maps
//		losses := net.Loss(objects)       // per image
//		dMaps := net.Backward()           // for nn.Net.BackwardMaps
//		optimizer.Update(net.Params, net.Grads, state, lr, n)
//	}
//	found := net.Decode(sides, detect.Default) // after Forward
//
// Results are bitwise identical for any number of threads. Activations are NHWC, boxes left, top, right, bottom.
package detect

import "fmt"

// Config describes a detector beyond its backbone.
type Config struct {
	// Classes is the number of classes.
	Classes int `json:"classes"`
	// Channels is the number of features per point in the pyramid and in the head.
	Channels int `json:"channels"`
	// Convs is the number of convolutions before the last one, in each of the head's two towers.
	Convs int `json:"convs"`
	// Groups is the number of groups of channels of the towers' GroupNorms; it divides Channels.
	Groups int `json:"groups"`
	// Extra is the number of levels beyond the backbone's maps, each half the size of the one before: at most two.
	Extra int `json:"extra"`
}

// Validate returns an error for an invalid configuration.
func (c Config) Validate() error {
	switch {
	case c.Classes < 1:
		return fmt.Errorf("detect: %d classes; want at least 1", c.Classes)
	case c.Channels < 1 || c.Groups < 1 || c.Channels%c.Groups != 0:
		return fmt.Errorf("detect: %d channels in %d groups; want groups that divide them", c.Channels, c.Groups)
	case c.Convs < 0 || c.Extra < 0 || c.Extra > 2:
		return fmt.Errorf("detect: %d convolutions per tower, %d extra levels; want 0 or more, 0 to 2", c.Convs, c.Extra)
	}
	return nil
}

// Map is the shape of one of the backbone's feature maps.
type Map struct {
	// Side is its height and width, Channels the number of features per pixel, and Stride the distance between the
	// image's pixels that two neighbors belong to.
	Side, Channels, Stride int
}

// Box is left, top, right and bottom, in pixels.
type Box [4]float32

// Area returns the box's area.
func (b Box) Area() float32 { return (b[2] - b[0]) * (b[3] - b[1]) }

// Object is an object to learn.
type Object struct {
	// Class is a number from 0.
	Class int
	// Box is where it is.
	Box Box
}
