package detect

import (
	"context"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/detect"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/annotations"
	"github.com/sdr-ml/sdr/transforms/inference"
)

const (
	folds = 4   // of the images: a detector that is fitted to all others finds the objects of one
	ridge = .01 // the penalty of its regressions
	parts = 20  // of the images, for the standard error
)

// linearDecoding says what a linear detector returns; a score is a centerness.
var linearDecoding = detect.Decoding{Score: .02, PerLevel: 100, Overlap: .6, Most: 100}

// judge scores backbones by what a linear detector finds with their maps in images that it was not fitted to.
type judge struct {
	set      *annotations.Set
	pictures []picture
	size     int
	pool     *kernels.Pool
}

// newJudge returns a judge by the images of a set, at most so many, drawn at random.
func newJudge(ctx context.Context, set *annotations.Set, size, most int, limit Limit, pool *kernels.Pool) (*judge, error) {
	part := *set
	part.Images = nil
	j := &judge{set: &part, size: size, pool: pool}
	for _, at := range rng.New(0, rng.Sample).Perm(len(set.Images))[:min(len(set.Images), most)] {
		part.Images = append(part.Images, set.Images[at])
	}
	var err error
	if j.pictures, _, err = limit.load(ctx, &part, size); err != nil {
		return nil, err
	}
	var used []annotations.Image
	for _, p := range j.pictures {
		used = append(used, part.Images[p.number])
	}
	part.Images = used
	return j, nil
}

// statistics returns the BatchNorm statistics of models on the images, which are filled up with the mean color.
func (j *judge) statistics(models []*inference.Model) ([][]float32, error) {
	var sized []*inference.Model
	for _, m := range models {
		one := *m
		one.Input.Size = j.size
		sized = append(sized, &one)
	}
	return inference.EstimateEach(j.pool, sized, len(j.pictures), func(i int) []uint8 {
		p := j.pictures[i%len(j.pictures)]
		pixels := make([]uint8, 3*j.size*j.size)
		for k := range pixels {
			pixels[k] = uint8(255*models[0].Input.Mean[k%3] + .5)
		}
		for y := range p.Height {
			copy(pixels[3*y*j.size:], p.Pix[3*y*p.Width:3*(y+1)*p.Width])
		}
		return pixels
	})
}

// score returns the average precision with a backbone's maps of the images, in percent, and its values without each part of
// the images. shapes are those of the maps.
func (j *judge) score(shapes []detect.Map, values [][][]float32) (score float64, without []float64, err error) {
	linear := detect.NewLinear(len(j.set.Classes), shapes, extra, j.pool)
	var all *detect.Moments
	var of [folds]*detect.Moments
	for f := range folds {
		var objects [][]detect.Object
		for _, i := range j.images(f) {
			objects = append(objects, j.pictures[i].objects)
		}
		if of[f], err = linear.Moments(pick(values, j.images(f)), objects); err != nil {
			return 0, nil, err
		}
		if all == nil {
			all = of[f]
			continue
		}
		all = all.Plus(of[f])
	}
	var found []metrics.Detection
	for f := range folds {
		if err := linear.Fit(all.Minus(of[f]), ridge); err != nil {
			return 0, nil, err
		}
		images := j.images(f)
		var extents [][2]float32
		for _, i := range images {
			extents = append(extents, [2]float32{float32(j.pictures[i].Width), float32(j.pictures[i].Height)})
		}
		decoded := linear.Decode(pick(values, images), extents, linearDecoding)
		for k, i := range images {
			for _, d := range decoded[k] {
				found = append(found, metrics.Detection{
					Image: i, Class: d.Class, Score: float64(d.Score), Box: j.pictures[i].original(d.Box),
				})
			}
		}
	}
	m := metrics.NewMatches(j.set.Objects(), found, len(j.pictures), len(j.set.Classes))
	without = m.Jackknife(parts)
	for g := range without {
		without[g] *= 100
	}
	return 100 * m.Summary().AP, without, nil
}

// images lists those of a fold. Their order is random.
func (j *judge) images(fold int) (all []int) {
	for i := fold; i < len(j.pictures); i += folds {
		all = append(all, i)
	}
	return all
}

// pick returns some of the values.
func pick[T any](values []T, at []int) (some []T) {
	for _, i := range at {
		some = append(some, values[i])
	}
	return some
}

// maps returns the maps of each image under several nets of the same backbone, a network for batches of finderBatch images.
// What consecutive nets have in common is computed once, and kept once.
func (j *judge) maps(ctx context.Context, backbone *nn.Net, nets []*inference.Model) (all [][][][]float32, err error) {
	pixels := 3 * j.size * j.size
	input, pass := make([]float32, finderBatch*pixels), ssl.LastPass{Layout: backbone.Layout}
	all = make([][][][]float32, len(nets))
	for part := range slices.Chunk(j.pictures, finderBatch) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for i, p := range part {
			p.put(input[i*pixels:(i+1)*pixels], j.size, nets[0].Input, false)
		}
		pass.Forget()
		for n, net := range nets {
			pass.Load(net.Params, net.Stats)
			backbone.Params, backbone.Stats = net.Params, net.Stats
			backbone.ForwardFrom(pass.Next(nn.RunningStats), input, nn.RunningStats)
			pass.Done(nn.RunningStats)
			for i := range part {
				of := make([][]float32, len(backbone.Maps))
				for k, m := range backbone.Maps {
					size := len(m.Values) / finderBatch
					of[k] = m.Values[i*size : (i+1)*size]
					if n > 0 && slices.Equal(of[k], all[n-1][len(all[n])][k]) {
						of[k] = all[n-1][len(all[n])][k]
					} else {
						of[k] = slices.Clone(of[k])
					}
				}
				all[n] = append(all[n], of)
			}
		}
	}
	return all, nil
}
