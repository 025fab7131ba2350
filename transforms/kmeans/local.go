package kmeans

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/uuid"

	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[localFn]())
	beam.RegisterDoFn(reflect.TypeFor[gatherFn]())
}

// process names this worker process.
var process = uuid.NewString()

// kept holds the batches that this process read, by job. Those of a failed job stay.
var kept = struct {
	sync.Mutex
	jobs map[string][]*record.Batch
}{jobs: map[string][]*record.Batch{}}

// keep keeps a batch for a job.
func keep(job string, b *record.Batch) {
	kept.Lock()
	defer kept.Unlock()
	kept.jobs[job] = append(kept.jobs[job], b)
}

// take returns what was kept for a job, and forgets it.
func take(job string) []*record.Batch {
	kept.Lock()
	defer kept.Unlock()
	defer delete(kept.jobs, job)
	return kept.jobs[job]
}

// localFn clusters all rows of a job in the process that keeps them.
type localFn struct {
	Config Config
	Job    string
}

func (fn *localFn) ProcessElement(m *model, assigned, centroids func(*record.Batch)) error {
	batches := take(fn.Job)
	var rows int64
	for _, b := range batches {
		rows += b.NumRows()
	}
	if rows != m.Sizes[0] {
		return fmt.Errorf("kmeans: Local: %d of %d rows are in this worker process; set Local only for runners with one, and not for retries", rows, m.Sizes[0])
	}
	return fn.Config.cluster(batches, m, assigned, centroids)
}

// gatherFn clusters all rows, which it reads from files.
type gatherFn struct{ Config Config }

func (fn *gatherFn) ProcessElement(ctx context.Context, _ []byte, paths func(*string) bool, m *model, assigned, centroids func(*record.Batch)) error {
	var batches []*record.Batch
	for path := ""; paths(&path); {
		err := arrowio.Each(ctx, path, func(b *record.Batch) error {
			batches = append(batches, b)
			return nil
		})
		if err != nil {
			return fmt.Errorf("kmeans: Gather: %w", err)
		}
	}
	return fn.Config.cluster(batches, m, assigned, centroids)
}

// cluster takes all passes over batches in memory.
func (c Config) cluster(batches []*record.Batch, m *model, assigned, centroids func(*record.Batch)) (err error) {
	rows := m.Sizes[0]
	h, err := c.hold(batches, m.Width)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	m.held = h
	for level := range c.Branching {
		if err := h.sort(batches, len(m.Sizes), c); err != nil {
			return err
		}
		for _, p := range c.passes(level) {
			if m, err = p.run(batches, rows, m); err != nil {
				return err
			}
		}
		(&centroidsFn{Config: c}).ProcessElement(m, centroids)
		label := &labelFn{Config: c}
		for i, b := range batches {
			if batches[i], err = label.ProcessElement(b, m); err != nil {
				return err
			}
		}
	}
	for _, b := range batches {
		assigned(b)
	}
	return nil
}

// run is the pass over batches in memory, with so many rows in all.
func (p pass) run(batches []*record.Batch, rows int64, m *model) (*model, error) {
	total := &tally{}
	if sum, ok := p.scan.(*sumFn); ok { // without a tally for each batch
		if sum.idle(m) {
			return m, nil
		}
		s := m.newSums(!sum.Last, rows)
		for _, b := range batches {
			if err := sum.scan(b, m, total, s); err != nil {
				return nil, err
			}
		}
		total.Clusters, total.Sums = s.total()
		return p.turn.ProcessElement(total, m)
	}
	for _, b := range batches {
		t, err := p.scan.ProcessElement(b, m)
		if err != nil {
			return nil, err
		}
		total = (&addFn{}).MergeAccumulators(total, t)
	}
	return p.turn.ProcessElement(total, m)
}
