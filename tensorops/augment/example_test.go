package augment_test

import (
	"fmt"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/rng"
)

// Two 32 px views of a white image of 40 x 60 px.
func Example() {
	operations := []augment.Operation{
		augment.RandomResizedCrop{Scale: [2]float64{0.2, 1}, Ratio: [2]float64{3. / 4, 4. / 3}},
		augment.HorizontalFlip{P: 0.5},
		augment.ColorJitter{P: 1, Brightness: 0.4},
	}
	if err := augment.Validate(operations); err != nil {
		panic(err)
	}
	worker := augment.NewWorker(operations, 32, [3]float32{0.5, 0.5, 0.5}, [3]float32{0.25, 0.25, 0.25})
	pixels := make([]uint8, 40*60*3)
	for i := range pixels {
		pixels[i] = 255
	}
	view, random := make([]float32, 32*32*3), rng.NewGenerator()
	for i := range uint64(2) {
		random.Seek(1, rng.View, i)
		worker.View(view, pixels, 40, 60, random)
		fmt.Printf("%.3f\n", view[0])
	}
	// Output:
	// 0.573
	// 1.561
}
