package bench

import (
	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// augments are what is done to one image, on one thread: a view, decoding a small file, and decoding a photograph and
// scaling it to what ResNet-50 takes.
func augments(_ Options, data *pictures) []benchmark {
	recipe := augment.SimSiam(smallSize)
	return []benchmark{
		onImage("view", smallSize, data.encode("png"), func(encoded [][]byte) func(i int) {
			var images []imageio.RGB
			for _, data := range encoded {
				images = append(images, mustDecode(data))
			}
			worker, view, random := augment.NewWorker(&recipe), make([]float32, smallSize*smallSize*3), rng.New(1, rng.View)
			return func(i int) {
				m := images[i%len(images)]
				worker.Apply(view, m.Pix, m.Height, m.Width, recipe.Draw(random, m.Height, m.Width))
			}
		}),
		onImage("decode-jpeg", smallSize, data.encode("jpeg"), decoder),
		onImage("decode-png", smallSize, data.encode("png"), decoder),
		onImage("decode-photo", photoSize, photo, func(encoded [][]byte) func(i int) {
			return func(i int) {
				if _, err := imageio.DecodeSquare(encoded[i%len(encoded)], photoSize); err != nil {
					panic(err) // this package has encoded it
				}
			}
		}),
	}
}

const photoSize = 224 // pixels of the side to which a photograph is scaled

func decoder(encoded [][]byte) func(i int) {
	return func(i int) { mustDecode(encoded[i%len(encoded)]) }
}

// onImage is a case whose run does something to the next image.
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
