package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/stages/internal/learn"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/files"
)

// Judgment compares a sub-net at the end of its phase with the root as of then, on images of the sub-net's subset that
// the SDRnet is not trained on.
type Judgment struct {
	Subnet string `json:"subnet"`
	// Images is the number of images that were compared; 0 if they are fewer than two mini-batches.
	Images int64 `json:"images"`
	// Loss and RootLoss are the mean losses of the method over the mini-batches, without distillation.
	Loss     float64 `json:"loss"`
	RootLoss float64 `json:"root_loss"`
	// Error is the standard error of their difference.
	Error float64 `json:"error"`
	// Offered says whether the router may choose the sub-net: its loss is below the root's by more than Error, or there
	// is no comparison.
	Offered bool `json:"offered"`
}

// String describes a comparison.
func (j Judgment) String() string {
	return fmt.Sprintf("%s: loss %.4f on %d held-out images, the root %.4f, standard error of the difference %.4f",
		j.Subnet, j.Loss, j.Images, j.RootLoss, j.Error)
}

// holdOut returns which of the images, listed by subset, are held out: a random sample of each of the finest subsets.
func (t *trainer) holdOut(rows map[string][]int32) map[int32]bool {
	held := map[int32]bool{}
	if !t.divides() {
		return held
	}
	for _, leaf := range t.leaves {
		list := rows[leaf]
		order := rng.New(t.recipe.Seed, rng.Sample, rng.Name("held out"), streamKey(leaf)).Perm(len(list))
		for _, i := range order[:int(t.recipe.Split.HeldOut*float64(len(list)))] {
			held[list[i]] = true
		}
	}
	return held
}

// judge compares sub-nets with the root on their held-out images.
func (t *trainer) judge(codes []string) error {
	unknown := 0
	for _, code := range codes {
		j, err := t.compare(code)
		if err != nil {
			return fmt.Errorf("sub-net %s on held-out images: %w", code, err)
		}
		if j.Images == 0 {
			unknown++
		}
		if !j.Offered {
			slog.Info("not offered to the router", "subnet", code, "loss", j.Loss, "root_loss", j.RootLoss, "error", j.Error)
		}
		t.judged = slices.DeleteFunc(t.judged, func(o Judgment) bool { return o.Subnet == code }) // of a run before it was resumed
		t.judged = append(t.judged, j)
	}
	if unknown > 0 {
		slog.Warn("sub-nets with held-out images for less than two mini-batches are offered to the router; raise split.held_out or lower train.batch",
			"subnets", unknown, "of", len(codes))
	}
	slices.SortFunc(t.judged, func(a, b Judgment) int { return sdrnet.Compare(a.Subnet, b.Subnet) })
	return t.student.Load(t.nets, t.teachers)
}

// withheld reports whether a sub-net was found not to be better than the root.
func (t *trainer) withheld(code string) bool {
	return slices.ContainsFunc(t.judged, func(j Judgment) bool { return j.Subnet == code && !j.Offered })
}

// compare compares a sub-net with the root on the same views of its held-out images.
func (t *trainer) compare(code string) (Judgment, error) {
	n := len(t.held[code]) / t.recipe.Train.Batch
	j := Judgment{Subnet: code, Offered: true}
	if n < 2 {
		return j, nil
	}
	j.Images = int64(n * t.recipe.Train.Batch)
	own, err := t.losses(code, t.held[code], n)
	if err != nil {
		return j, err
	}
	root, err := t.losses("", t.held[code], n)
	if err != nil {
		return j, err
	}
	var squares float64
	for i := range own {
		j.Loss += own[i] / float64(n)
		j.RootLoss += root[i] / float64(n)
	}
	for i := range own {
		squares += math.Pow(root[i]-own[i]-(j.RootLoss-j.Loss), 2)
	}
	j.Error = math.Sqrt(squares / float64(n-1) / float64(n))
	j.Offered = j.RootLoss-j.Loss > j.Error
	return j, nil
}

// losses returns the losses of a net on n disjoint mini-batches of images, with BatchNorm as in training. Each is that of
// a training step at a rate of 0, on a copy of the nets, since a step also moves the optimizer's state and the memory.
func (t *trainer) losses(net string, rows []int32, n int) ([]float64, error) {
	if err := t.student.Load(t.nets.Clone(), nil); err != nil {
		return nil, err
	}
	total := t.recipe.Steps()
	stream := learn.NewStream(t.recipe.Seed, rng.Name("held out"), rows)
	losses := make([]float64, n)
	for i := range losses {
		t.student.Prepare(total+i, stream) // views that no step has
		if err := t.student.Start(ssl.Step{Code: net, Number: total, Of: total}); err != nil {
			return nil, err
		}
		found, err := t.student.Finish()
		if err != nil {
			return nil, err
		}
		losses[i] = found.SSL
	}
	return losses, nil
}

// judgmentsPath returns the path of the file of judgments, which has one line of JSON per sub-net.
func judgmentsPath(dir string) string { return files.Join(dir, "metrics", SDR+"-held-out.jsonl") }

// writeJudgments writes the judgments, if there are any.
func (t *trainer) writeJudgments(ctx context.Context) error {
	if len(t.judged) == 0 {
		return nil
	}
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	for _, j := range t.judged {
		if err := lines.Encode(j); err != nil {
			return err
		}
	}
	return files.WriteBytes(ctx, judgmentsPath(t.cfg.Dir), b.Bytes())
}

// Notes describes the sub-nets that the router is not offered.
func Notes(ctx context.Context, dir string) ([]string, error) {
	judged, err := ReadJudgments(ctx, dir)
	var notes []string
	for _, j := range judged {
		if !j.Offered {
			notes = append(notes, "not offered to the router: "+j.String())
		}
	}
	return notes, err
}

// ReadJudgments reads what an SDRnet's training with held-out images found; nothing if none were held out.
func ReadJudgments(ctx context.Context, dir string) ([]Judgment, error) {
	judged, err := curves.Read[Judgment](ctx, judgmentsPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return judged, err
}
