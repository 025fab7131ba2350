package train

import (
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// programMemory is that of the program without a training, with what a runner keeps.
const programMemory = 512 << 20

// Memory estimates the memory in bytes of a worker that trains a variant on so many images. It keeps their pixels, unless
// they are on a local disk, the values of a step, on a CPU, and the state of all sub-nets, which a checkpoint doubles; and
// the heap may become twice as large before garbage is collected.
func Memory(r *recipe.Recipe, variant string, images int64) (int64, error) {
	stages, _ := r.Levels()
	shared, own, err := Bytes(r, variant, len(stages))
	if err != nil {
		return 0, err
	}
	crop, views := r.Input.Crop, 2*r.Train.Batch
	step := nn.ArenaSize(r.Backbone, r.Heads(), crop, views, 2, nn.Train) + views*crop*crop*3
	encoder := nn.ArenaSize(r.Backbone, r.Heads(), crop, views, 2, nn.Inference)
	if r.Loss().Target != nil {
		step += encoder
	}
	if r.SSL.Distill > 0 {
		step += encoder
	}
	size := int64(r.Input.Size)
	return programMemory + images*size*size*3 + 2*(4*int64(step)+2*(shared+own)), nil
}
