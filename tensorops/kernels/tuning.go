package kernels

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
	choices   map[string]string // requested or adopted
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
	if err != nil {
		return nil, fmt.Errorf("kernels: tuning table %s: %w; delete it to measure again", t.path, err)
	}
	return choices, nil
}

// Adopt takes over choices from the output of JSON, such as those of an earlier part of a run. They override the
// file's.
func (t *Tuning) Adopt(data []byte) error {
	var choices map[string]string
	if err := json.Unmarshal(data, &choices); err != nil {
		return fmt.Errorf("kernels: tuning table: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.Copy(t.choices, choices)
	return nil
}

// JSON returns the choices that were requested or adopted.
func (t *Tuning) JSON() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return encode(t.choices)
}

func encode(choices map[string]string) []byte {
	data, err := json.MarshalIndent(choices, "", "  ")
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return append(data, '\n')
}

// Choose returns the choice for a key, calling measure if there is no valid one.
func (t *Tuning) Choose(key string, valid func(string) bool, measure func() (string, error)) (string, error) {
	if t.preferred != nil {
		if i := slices.IndexFunc(t.preferred, valid); i >= 0 {
			return t.preferred[i], nil
		}
		return measure()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.choices[key]; ok && valid(c) {
		return c, nil
	}
	stored, err := t.read()
	if err != nil {
		return "", err
	}
	choice, ok := stored[key]
	if !ok || !valid(choice) {
		if choice, err = measure(); err != nil {
			return "", err
		}
		if choice, err = t.keep(key, valid, choice); err != nil {
			return "", err
		}
	}
	t.choices[key] = choice
	return choice, nil
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
