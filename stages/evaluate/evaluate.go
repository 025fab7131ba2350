// Package evaluate is the stage that measures a run's nets on test images: the unified baselines, every sub-net, and
// the sub-net that the router chose.
package evaluate

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Config says what to evaluate.
type Config struct {
	// Tasks are the downstream tasks.
	Tasks []tasks.Task
	// Protocols names the protocols to run, each from Protocols.
	Protocols []string
}

// Row is the schema of Evaluate's output: one net on one task under one protocol, and what it predicts.
type Row struct {
	Task     string `arrow:"task"`
	Metric   string `arrow:"metric"`
	Protocol string `arrow:"protocol"`
	Subnet   string `arrow:"subnet"`
	// Norm says where the net's BatchNorm statistics come from, see route.Norms.
	Norm string `arrow:"norm"`
	// Value is the task's metric on its test images, in percent; of an episodic protocol, the mean of the episodes'
	// accuracies, with a 95 % interval of plus or minus Interval, which is 0 otherwise.
	Value      float64 `arrow:"value"`
	Interval   float64 `arrow:"interval"`
	TestImages int64   `arrow:"test_images"`
	// Score is the net's routing score, Candidate is true if the router could choose the net, and Routed is true if it
	// did. Mark sets them.
	Candidate bool    `arrow:"candidate"`
	Score     float64 `arrow:"score"`
	Routed    bool    `arrow:"routed"`
	// Labels and Predicted are the true and the predicted classes of the test images, in the order of the test split. If the
	// metric is tasks.MeanAP, Labels are instead [TestImages, classes], 1 if an image has a class, else 0, and Scores, of the
	// same shape, take the place of Predicted. Of an episodic protocol, there are only Scores: the accuracies of the episodes,
	// as fractions, which are the same episodes for all nets.
	Labels    []int32   `arrow:"labels"`
	Predicted []int32   `arrow:"predicted"`
	Scores    []float64 `arrow:"scores"`
}

// Form identifies what the rows of protocols hold for digests of inputs: folders of earlier versions have rows without
// scores, or without those of episodes.
func Form(protocols []string) string {
	form := "rows with predictions and scores"
	if slices.ContainsFunc(protocols, func(name string) bool { p, _ := named(name); return p.Episodic }) {
		form += " of episodes"
	}
	return form
}

// Classes returns Labels and Predicted as package metrics takes them.
func (r Row) Classes() (labels, predicted []int64) {
	labels, predicted = make([]int64, len(r.Labels)), make([]int64, len(r.Predicted))
	for i, l := range r.Labels {
		labels[i] = int64(l)
	}
	for i, p := range r.Predicted {
		predicted[i] = int64(p)
	}
	return labels, predicted
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[embedFn]())
	beam.RegisterDoFn(reflect.TypeFor[measureFn]())
	beam.RegisterDoFn(reflect.TypeFor[markFn]())
}

// Evaluate measures every net of a run on every task: it fits a classifier to the features of the task's training
// images and predicts the classes of its test images. The runner fuses these steps, so features never leave the worker
// that computes them. Evaluate panics on an unknown protocol.
//
// in: *record.Batch of train.Model. out: *record.Batch of Row, one row per batch.
func Evaluate(s beam.Scope, models beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("evaluate.Evaluate")
	return Measure(s, route.Pairs(s, models, cfg.Tasks, nil), cfg.Protocols)
}

// Measure is Evaluate for given pairs of a task and a net.
//
// in: *record.Batch of route.Pair. out: as of Evaluate.
func Measure(s beam.Scope, pairs beam.PCollection, protocols []string) beam.PCollection {
	s = s.Scope("evaluate.Measure")
	sets := sync.OnceValue(func() beam.PCollection { return beam.ParDo(s, &embedFn{}, beam.Reshuffle(s, pairs)) })
	var rows []beam.PCollection
	for _, name := range protocols {
		protocol, ok := named(name)
		if !ok {
			panic(fmt.Sprintf("evaluate: unknown protocol %q; want one or more of %v", name, Protocols()))
		}
		if protocol.train != nil {
			rows = append(rows, protocol.train(s, pairs))
			continue
		}
		rows = append(rows, protocol.measure(s, sets()))
	}
	return beam.Reshuffle(s, beam.Flatten(s, rows...)) // see compute.ParDo
}

// Mark adds the router's scores and choices to the results of an evaluation.
//
// in: *record.Batch of Row, and *record.Batch of route.Score as a side input. out: *record.Batch of Row.
func Mark(s beam.Scope, results, scores beam.PCollection) beam.PCollection {
	s = s.Scope("evaluate.Mark")
	return beam.ParDo(s, &markFn{}, results, beam.SideInput{Input: scores})
}

// embedFn computes the features of pairs of one task: for each pair one batch for the training images and one for the
// test images.
type embedFn struct{}

// together is the number of pairs whose features are computed together.
const together = 16

func (*embedFn) ProcessElement(ctx context.Context, in *record.Batch, emit func(train, test *record.Batch)) error {
	pairs, err := record.Rows[route.Pair](in)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(pairs, together) {
		if err := embed(ctx, some, emit); err != nil {
			return fmt.Errorf("evaluate: task %s: %w", pairs[0].Task, err)
		}
	}
	return nil
}

func embed(ctx context.Context, pairs []route.Pair, emit func(train, test *record.Batch)) error {
	training := make([]*labeled.Set, len(pairs))
	err := route.Features(ctx, pairs, nil, func(i int, s *labeled.Set) error {
		training[i] = s
		return nil
	})
	if err != nil {
		return err
	}
	return route.Features(ctx, pairs, training[0].Classes, func(i int, s *labeled.Set) error {
		of := record.Of(pairs[i : i+1])
		train, err := training[i].Batch(of, pairs[i].Metric)
		if err != nil {
			return err
		}
		test, err := s.Batch(of, pairs[i].Metric)
		if err == nil {
			emit(train, test)
		}
		return err
	})
}

// measureFn computes the task's metric from the predictions for one pair.
type measureFn struct{ Protocol string }

func (fn *measureFn) ProcessElement(b *record.Batch) (*record.Batch, error) {
	pairs, err := record.Rows[route.Pair](record.New(b.NewSlice(0, 1)))
	if err != nil {
		return nil, err
	}
	p := pairs[0]
	if p.Metric == tasks.MeanAP {
		type scored struct {
			Label  []int32   `arrow:"label"`
			Scores []float64 `arrow:"scores"`
		}
		images, err := record.Rows[scored](b)
		if err != nil {
			return nil, err
		}
		var sets [][]int32
		var scores [][]float64
		for _, im := range images {
			sets, scores = append(sets, im.Label), append(scores, im.Scores)
		}
		return record.Of([]Row{newScores(fn.Protocol, p, sets, scores)}), nil
	}
	type class struct {
		Label     int64 `arrow:"label"`
		Predicted int64 `arrow:"predicted"`
	}
	classes, err := record.Rows[class](b)
	if err != nil {
		return nil, err
	}
	var labels, predicted []int64
	for _, c := range classes {
		labels, predicted = append(labels, c.Label), append(predicted, c.Predicted)
	}
	return record.Of([]Row{newRow(fn.Protocol, p, labels, predicted)}), nil
}

// newRow measures and notes the predictions of a pair under a protocol.
func newRow(protocol string, p route.Pair, labels, predicted []int64) Row {
	row := Row{Task: p.Task, Metric: p.Metric, Protocol: protocol, Subnet: p.Subnet, Norm: p.Norm, TestImages: int64(len(labels))}
	for i := range labels {
		row.Labels, row.Predicted = append(row.Labels, int32(labels[i])), append(row.Predicted, int32(predicted[i]))
	}
	row.Value = tasks.Percent(p.Metric, predicted, labels)
	row.note()
	return row
}

// newScores is newRow for images that may have several classes. scores are those of the classes up to the highest in the
// training images; the others have none.
func newScores(protocol string, p route.Pair, sets [][]int32, scores [][]float64) Row {
	row := Row{Task: p.Task, Metric: p.Metric, Protocol: protocol, Subnet: p.Subnet, Norm: p.Norm, TestImages: int64(len(sets))}
	classes := len(scores[0])
	for _, set := range sets {
		for _, c := range set {
			classes = max(classes, int(c)+1)
		}
	}
	row.Labels, row.Scores = make([]int32, len(sets)*classes), make([]float64, len(sets)*classes)
	for i, set := range sets {
		for _, c := range set {
			row.Labels[i*classes+int(c)] = 1
		}
		copy(row.Scores[i*classes:], scores[i])
	}
	row.Value = 100 * row.ranked().MeanAP()
	row.note()
	return row
}

// ranked returns the scores and the classes of a row with scores.
func (r Row) ranked() metrics.Ranked {
	labels, _ := r.Classes()
	scores := make([]float32, len(r.Scores))
	for i, s := range r.Scores {
		scores[i] = float32(s)
	}
	return metrics.Ranked{Classes: len(r.Labels) / int(r.TestImages), Scores: scores, Has: labels}
}

// note says how good the net is.
func (r Row) note() {
	progress.Note("evaluate", "task", r.Task, "net", r.Subnet, "norm", r.Norm, r.Protocol, fmt.Sprintf("%.1f", r.Value))
}

// markFn adds the router's score and choice to each net's results.
type markFn struct{}

func (*markFn) ProcessElement(figures *record.Batch, scores func(**record.Batch) bool) (*record.Batch, error) {
	rows, err := record.Rows[Row](figures)
	if err != nil {
		return nil, err
	}
	all, err := record.All[route.Score](scores)
	if err != nil {
		return nil, err
	}
	for i, row := range rows {
		best := route.Best(route.Candidates(all, row.Task, Scorer(row.Protocol)))
		for _, s := range all {
			if s.Task == row.Task && s.Scorer == Scorer(row.Protocol) && s.Subnet == row.Subnet && s.Norm == row.Norm {
				rows[i].Score, rows[i].Candidate, rows[i].Routed = s.Score, s.Candidate, s == best
			}
		}
	}
	return record.Of(rows), nil
}

// Collect groups the rows of an evaluation by task and protocol, averages them over the tasks, and compares the routed
// sub-nets with the baselines. dead are the tasks that could not be evaluated.
func Collect(rows []Row, dead []Dead) *Results {
	type key struct{ protocol, task string }
	byTask := map[key][]Row{}
	for _, r := range rows {
		k := key{r.Protocol, r.Task}
		byTask[k] = append(byTask[k], r)
	}
	var list []Task
	chosen := map[key]map[string]Row{} // by the name of a net, such as Routed
	for k, rows := range byTask {
		slices.SortFunc(rows, func(a, b Row) int { // sums do not depend on the order of the rows
			return cmp.Or(strings.Compare(a.Subnet, b.Subnet), slices.Index(route.Norms, a.Norm)-slices.Index(route.Norms, b.Norm))
		})
		t := Task{Name: k.task, Protocol: k.protocol, Metric: rows[0].Metric, TestImages: rows[0].TestImages}
		var sum, count float64
		of := map[string]Row{}
		for _, r := range rows {
			if r.Norm == route.NormTraining {
				of[r.Subnet] = r
			}
			if best, ok := of[UnifiedBestNorm]; r.Subnet == recipe.Unified && (!ok || r.Score > best.Score) {
				of[UnifiedBestNorm] = r
			}
			if r.Candidate {
				sum, count = sum+r.Value, count+1
				if t.Oracle == nil || r.Value > *t.Oracle {
					t.Oracle = new(r.Value)
				}
			}
			if r.Routed {
				of[Routed], t.Subnet, t.Norm, t.Interval = r, r.Subnet, r.Norm, r.Interval
			}
		}
		value := func(net string) *float64 {
			if r, ok := of[net]; ok {
				return new(r.Value)
			}
			return nil
		}
		t.Random, t.Unified, t.UnifiedBestNorm = value(recipe.Random), value(recipe.Unified), value(UnifiedBestNorm)
		t.UnifiedSubsetBatches, t.Routed = value(recipe.UnifiedSubsetBatches), value(Routed)
		if count > 0 {
			t.Mean = new(sum / count)
		}
		list = append(list, t)
		chosen[k] = of
	}
	found := newResults(list, dead)
	for protocol := range found.Mean {
		of := map[string]map[string]Row{} // by task
		for k, nets := range chosen {
			if k.protocol == protocol {
				of[k.task] = nets
			}
		}
		found.Comparisons = append(found.Comparisons, compare(protocol, of)...)
	}
	slices.SortStableFunc(found.Comparisons, func(a, b Comparison) int { return inOrder(a.Protocol, b.Protocol) })
	return found
}
