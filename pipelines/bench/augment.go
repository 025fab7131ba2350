package bench

import (
	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// augments are operations on one image, on one thread: making a view, decoding a small file, and decoding a photo and
// scaling it to ResNet-50's input size.
func augments(_ Options, data *pictures) []benchmark {
	return []benchmark{
		onImage("view", smallSize, data.encode("png"), func(encoded [][]byte) func(i int) {
			var images []imageio.RGB
			for _, data := range encoded {
				images = append(images, mustDecode(data))
			}
			worker, view, random := newWorker(smallSize), make([]float32, smallSize*smallSize*3), rng.NewGenerator()
			return func(i int) {
				m := images[i%len(images)]
				random.Seek(1, rng.View, 0, uint64(i))
				worker.View(view, m.Pix, m.Height, m.Width, random)
			}
		}),
		onImage("decode-jpeg", smallSize, data.encode("jpeg"), decoder),
		onImage("decode-png", smallSize, data.encode("png"), decoder),
		onImage("decode-photo", photoSize, photo, func(encoded [][]byte) func(i int) {
			return func(i int) {
				if _, err := imageio.DecodeSquare(encoded[i%len(encoded)], photoSize); err != nil {
					panic(err) // this package encoded it
				}
			}
		}),
	}
}

// newWorker returns a worker for SimSiam's views, with ImageNet's mean and standard deviation.
func newWorker(size int) *augment.Worker {
	return augment.NewWorker(augment.SimSiam(size), size, mean, std)
}

// ImageNet's mean and standard deviation.
var mean, std = [3]float32{0.485, 0.456, 0.406}, [3]float32{0.229, 0.224, 0.225}

const photoSize = 224 // height and width in pixels to which a photo is scaled

func decoder(encoded [][]byte) func(i int) {
	return func(i int) { mustDecode(encoded[i%len(encoded)]) }
}

// onImage is a case that does something to the next image in each run.
func onImage(op string, size int, encoded source, prepare func([][]byte) func(i int)) benchmark {
	return benchmark{
		name:    "augment/" + op,
		kind:    "augment",
		sizes:   map[string]any{"op": op, "size": size},
		threads: 1,
		images:  1,
		encoded: encoded,
		prepare: func(_ *kernels.Pool, encoded [][]byte) (work, error) {
			do, i := prepare(encoded), 0
			return work{run: func() {
				do(i)
				i++
			}}, nil
		},
	}
}
