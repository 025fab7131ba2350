package pipelines

import (
	"net/http"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sdr-ml/sdr/stages/run/progress"
)

// MetricsHandler serves what Prometheus scrapes: how far the tasks of this process are, with the losses of trainings, and
// the counters and distributions of the Beam jobs that it has run, summed up over their transforms. Those of a job are
// added when it ends.
func MetricsHandler() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(taskCollector{}, &jobs, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// taskCollector collects the state of the running tasks.
type taskCollector struct{}

var (
	taskDone   = prometheus.NewDesc("sdr_task_done", "Units that a running task has finished.", []string{"task", "unit"}, nil)
	taskTotal  = prometheus.NewDesc("sdr_task_total", "Units that a running task consists of.", []string{"task", "unit"}, nil)
	taskFigure = prometheus.NewDesc("sdr_task_figure", "The latest loss, std (of the embedding), data_wait (0 to 100) and validation (0 to 100) of a training.", []string{"task", "figure"}, nil)
)

// Describe implements [prometheus.Collector].
func (taskCollector) Describe(to chan<- *prometheus.Desc) {
	to <- taskDone
	to <- taskTotal
	to <- taskFigure
}

// Collect implements [prometheus.Collector].
func (taskCollector) Collect(to chan<- prometheus.Metric) {
	seen := map[string]bool{}
	for _, s := range progress.Running() {
		if seen[s.Name] { // two workers may do the same kind of task
			continue
		}
		seen[s.Name] = true
		to <- prometheus.MustNewConstMetric(taskDone, prometheus.GaugeValue, float64(s.Done), s.Name, s.Unit)
		to <- prometheus.MustNewConstMetric(taskTotal, prometheus.GaugeValue, float64(s.Total), s.Name, s.Unit)
		for figure, value := range s.Figures {
			to <- prometheus.MustNewConstMetric(taskFigure, prometheus.GaugeValue, value, s.Name, figure)
		}
	}
}

// jobs are the sums over the Beam jobs of this process.
var jobs jobCollector

// jobCollector collects the counters and distributions of Beam jobs.
type jobCollector struct {
	mu       sync.Mutex
	counters map[beamMetric]int64
	counts   map[beamMetric]int64 // of distributions
	sums     map[beamMetric]int64
}

// beamMetric names a metric of Beam's.
type beamMetric struct{ namespace, name string }

var (
	beamCounter = prometheus.NewDesc("sdr_beam_counter_total", "A counter of Beam's, such as imageio's dead_letters.", []string{"namespace", "name"}, nil)
	beamCount   = prometheus.NewDesc("sdr_beam_distribution_count", "The number of values of a distribution of Beam's.", []string{"namespace", "name"}, nil)
	beamSum     = prometheus.NewDesc("sdr_beam_distribution_sum", "The sum of the values of a distribution of Beam's.", []string{"namespace", "name"}, nil)
)

// add adds the metrics of a job that has ended.
func (j *jobCollector) add(result beam.PipelineResult) {
	all := result.Metrics().AllMetrics()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.counters == nil {
		j.counters, j.counts, j.sums = map[beamMetric]int64{}, map[beamMetric]int64{}, map[beamMetric]int64{}
	}
	key := func(k metrics.StepKey) beamMetric { return beamMetric{k.Namespace, k.Name} }
	for _, c := range all.Counters() {
		j.counters[key(c.Key)] += c.Result()
	}
	for _, d := range all.Distributions() {
		j.counts[key(d.Key)] += d.Result().Count
		j.sums[key(d.Key)] += d.Result().Sum
	}
}

// Describe implements [prometheus.Collector].
func (*jobCollector) Describe(to chan<- *prometheus.Desc) {
	to <- beamCounter
	to <- beamCount
	to <- beamSum
}

// Collect implements [prometheus.Collector].
func (j *jobCollector) Collect(to chan<- prometheus.Metric) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for desc, values := range map[*prometheus.Desc]map[beamMetric]int64{beamCounter: j.counters, beamCount: j.counts, beamSum: j.sums} {
		for key, value := range values {
			to <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), key.namespace, key.name)
		}
	}
}
