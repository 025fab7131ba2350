package kernels

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/gofrs/flock"
)

// Tuning is an autotuning table: the fastest algorithm for each convolution shape, as measured on a processor or GPU. A
// choice is measured once and then kept: algorithms round differently, so results are bitwise reproducible only with the same
// table.
type Tuning struct {
	mu        sync.Mutex
	path      string
	choices   map[string]string // made so far, by shape
	run       Store             // of the run; nil for none
	parts     []Part            // of this machine that compute
	preferred []string          // algorithms of Prefer; there is no file then
}

// Prefer returns a table that keeps nothing. It chooses the first of the named algorithms that applies, such as
// "winograd2", "gathered bf16" or "direct"; if none does, the cost model chooses on a processor, and measurements on a
// GPU.
func Prefer(algorithms ...string) *Tuning {
	return &Tuning{choices: map[string]string{}, preferred: algorithms}
}

// OpenTuning returns the table stored in a file, which need not exist yet. Several processes may share it: the first to
// measure a shape decides.
func OpenTuning(path string) (*Tuning, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("kernels: folder of the tuning table: %w", err)
	}
	t := &Tuning{path: path, choices: map[string]string{}}
	_, err := t.read()
	return t, err
}

// read returns the content of the file.
func (t *Tuning) read() (map[string]string, error) {
	choices := map[string]string{}
	data, err := os.ReadFile(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return choices, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &choices)
	}
	if err == nil && choices == nil {
		err = errors.New("it holds no choices")
	}
	if err != nil {
		return nil, fmt.Errorf("kernels: tuning table %s: %w; delete it to measure again", t.path, err)
	}
	return choices, nil
}

// Store keeps the choices of a run, wherever its parts compute. Its methods may be called from several goroutines.
type Store interface {
	// Get returns the algorithm chosen for a shape, or nothing if there is none.
	Get(shape string) (algorithm string, err error)
	// Put keeps the algorithm that a machine has chosen, unless there is one, and returns the one that is kept.
	Put(shape, algorithm, machine string) (kept string, err error)
	// Join notes that a part of a machine computes for the run.
	Join(part Part) error
}

// Part is a part of a machine on whose type the last bits of results may depend.
type Part struct {
	// Kind is Processor or GPU, and Name its type.
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// Kinds of parts.
const (
	Processor = "processor"
	GPU       = "GPU"
)

// Join notes that a part of this machine computes by the table, for the run whose choices are shared.
func (t *Tuning) Join(part Part) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.parts, part) {
		t.parts = append(t.parts, part)
		t.note(part)
	}
}

func (t *Tuning) note(part Part) {
	if t.run == nil {
		return
	}
	if err := t.run.Join(part); err != nil {
		slog.Warn("the run does not note which machines compute it", "error", err)
	}
}

// Share makes later choices those of a run: what any part of it has chosen, wherever that was measured, is kept for all of
// them. The choices of an earlier run are forgotten.
func (t *Tuning) Share(s Store) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.run, t.choices = s, map[string]string{}
	for _, part := range t.parts {
		t.note(part)
	}
}

func encode(choices map[string]string) []byte {
	data, err := json.MarshalIndent(choices, "", "  ")
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return append(data, '\n')
}

// Choose returns the choice for a shape, calling measure if there is no valid one. Machine is the part of what the speed
// depends on that makes no difference to which algorithms there are.
func (t *Tuning) Choose(machine, shape string, valid func(string) bool, measure func() (string, error)) (string, error) {
	if t.preferred != nil {
		if i := slices.IndexFunc(t.preferred, valid); i >= 0 {
			return t.preferred[i], nil
		}
		return measure()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.choices[shape]; ok && valid(c) {
		return c, nil
	}
	choice, err := t.ofRun(shape, valid)
	if choice == "" && err == nil {
		key := shape
		if machine != "" {
			key = machine + ": " + shape
		}
		choice, err = t.ofMachine(key, valid, measure)
		if err == nil && t.run != nil {
			var kept string
			if kept, err = t.run.Put(shape, choice, machine); err == nil && valid(kept) {
				choice = kept
			}
		}
	}
	if err == nil {
		t.choices[shape] = choice
	}
	return choice, err
}

// ofRun returns the run's valid choice for a shape; empty if there is none.
func (t *Tuning) ofRun(shape string, valid func(string) bool) (string, error) {
	if t.run == nil {
		return "", nil
	}
	choice, err := t.run.Get(shape)
	if err != nil || !valid(choice) {
		return "", err
	}
	return choice, nil
}

// ofMachine returns the choice in the file, measuring it if there is none.
func (t *Tuning) ofMachine(key string, valid func(string) bool, measure func() (string, error)) (string, error) {
	stored, err := t.read()
	if err != nil {
		return "", err
	}
	if choice, ok := stored[key]; ok && valid(choice) {
		return choice, nil
	}
	choice, err := measure()
	if err != nil {
		return "", err
	}
	return t.keep(key, valid, choice)
}

// keep adds a choice to the file, unless another process has done so meanwhile, and returns the valid one.
func (t *Tuning) keep(key string, valid func(string) bool, choice string) (string, error) {
	lock := flock.New(t.path + ".lock")
	if err := lock.Lock(); err != nil {
		return "", fmt.Errorf("kernels: tuning table %s: %w", t.path, err)
	}
	defer lock.Close()
	stored, err := t.read()
	if err != nil {
		return "", err
	}
	if c, ok := stored[key]; ok && valid(c) {
		return c, nil
	}
	stored[key] = choice
	temporary := t.path + ".tmp"
	if err := os.WriteFile(temporary, encode(stored), 0o644); err != nil {
		return "", fmt.Errorf("kernels: tuning table: %w", err)
	}
	if err := os.Rename(temporary, t.path); err != nil {
		return "", fmt.Errorf("kernels: tuning table: %w", err)
	}
	return choice, nil
}
