// Package progress shows the progress of this process: a bar on a terminal, otherwise one log line every few seconds.
package progress

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Interval is the time between log lines if there is no terminal.
const Interval = 5 * time.Second

// barInterval is the time between redraws of a bar.
const barInterval = 200 * time.Millisecond

// bars is where bars are drawn; if nil, lines are logged instead.
var bars io.Writer

// ShowBars makes later tasks draw bars on the terminal, or log lines again if terminal is nil. It must not be called
// while a task is running.
func ShowBars(terminal io.Writer) { bars = terminal }

// Task is a piece of work of known length. Its methods may be called from several goroutines.
type Task struct {
	name  string
	unit  string
	total int64
	begun int64 // units done before the start, which do not count toward the speed
	start time.Time

	mu      sync.Mutex
	done    int64
	logged  int64 // value of done in the last log line
	shown   time.Time
	details []any
	figures map[string]float64 // of the details when they were last shown
	bar     *progressbar.ProgressBar
}

// Figure is a number among the details of a task. It is formatted only when it is shown.
type Figure struct {
	Format string
	Value  float64
}

// String implements [fmt.Stringer].
func (f *Figure) String() string { return fmt.Sprintf(f.Format, f.Value) }

// State is how far a task is.
type State struct {
	// Name and Unit are the task's.
	Name, Unit string
	// Done is the number of units that are finished, of Total.
	Done, Total int64
	// Figures are the values of the task's details that are a *Figure, as last shown, by their keys.
	Figures map[string]float64
}

// running are the tasks that have started and not ended.
var running = struct {
	sync.Mutex
	tasks []*Task
}{}

// Running returns the states of the tasks of this process that have started and not ended, in the order of their start.
func Running() (states []State) {
	running.Lock()
	tasks := slices.Clone(running.tasks)
	running.Unlock()
	for _, t := range tasks {
		t.mu.Lock()
		states = append(states, State{t.name, t.unit, t.done, t.total, maps.Clone(t.figures)})
		t.mu.Unlock()
	}
	return states
}

// Start starts a task of total units, done of which were finished earlier.
func Start(name, unit string, done, total int64) *Task {
	now := time.Now()
	t := &Task{name: name, unit: unit, total: total, begun: done, start: now, done: done, logged: -1, shown: now}
	if bars != nil {
		t.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(bars),
			progressbar.OptionSetDescription(name),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(false), // it would count units done earlier
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionFullWidth(),
			progressbar.OptionClearOnFinish(),
		)
		_ = t.bar.Set64(done) // a bar that cannot be drawn is no reason to stop
	}
	running.Lock()
	defer running.Unlock()
	running.tasks = append(running.tasks, t)
	return t
}

// Add reports that n more units are finished. The details are slog key-value pairs to show next to the progress, such
// as the loss.
func (t *Task) Add(n int64, details ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done += n
	t.details = details
	interval := Interval
	if t.bar != nil {
		interval = barInterval
	}
	if time.Since(t.shown) < interval {
		return
	}
	t.shown = time.Now()
	t.figures = figures(details)
	if t.bar == nil {
		t.log()
		return
	}
	t.bar.Describe(t.name + " " + short(t.speed()))
	_ = t.bar.Set64(t.done)
}

// End ends the task, finished or not.
func (t *Task) End() {
	running.Lock()
	running.tasks = slices.DeleteFunc(running.tasks, func(o *Task) bool { return o == t })
	running.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bar != nil {
		_ = t.bar.Finish() // removes it
	}
	if t.logged != t.done {
		t.log()
	}
}

// rate returns the units finished per second since the start.
func (t *Task) rate() float64 {
	return float64(t.done-t.begun) / max(time.Since(t.start).Seconds(), 1e-9)
}

func (t *Task) log() {
	t.logged = t.done
	slog.Info(t.name, append([]any{"done", t.done, "of", t.total}, t.speed()...)...)
}

// speed returns the rate, the remaining time and the details as key-value pairs.
func (t *Task) speed() []any {
	rate := t.rate()
	args := []any{t.unit + "/s", fmt.Sprintf("%.1f", rate)}
	if rate > 0 && t.done < t.total {
		left := time.Duration(float64(t.total-t.done) / rate * float64(time.Second))
		args = append(args, "left", left.Round(time.Second).String())
	}
	return append(args, t.details...)
}

// figures returns the values of details that are figures.
func figures(details []any) map[string]float64 {
	found := map[string]float64{}
	for pair := range slices.Chunk(details, 2) {
		if f, ok := pair[len(pair)-1].(*Figure); ok {
			found[fmt.Sprint(pair[0])] = f.Value
		}
	}
	return found
}

// short formats keys and values on one line.
func short(args []any) string {
	var words []string
	for _, a := range args {
		words = append(words, fmt.Sprint(a))
	}
	return strings.Join(words, " ")
}

var noted = struct {
	sync.Mutex
	count map[string]int
	shown map[string]time.Time
}{count: map[string]int{}, shown: map[string]time.Time{}}

// Note reports one more unit of a task whose length this process does not know, such as the pairs that a runner hands
// to a DoFn. It logs a line every Interval, with the number of units so far and the details of the latest.
func Note(name string, details ...any) {
	noted.Lock()
	defer noted.Unlock()
	noted.count[name]++
	if time.Since(noted.shown[name]) >= Interval {
		noted.shown[name] = time.Now()
		slog.Info(name, append([]any{"done", noted.count[name]}, details...)...)
	}
}
