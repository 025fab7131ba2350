package record

import "github.com/apache/beam/sdks/v2/go/pkg/beam"

// Side caches what a DoFn computes from a side input, once per window rather than per element. It is for bounded
// PCollections, where the side input of a window does not change.
type Side[T any] struct {
	window beam.Window
	value  T
}

// Get returns the value that read computes from the side input of a window.
func (s *Side[T]) Get(w beam.Window, read func() (T, error)) (T, error) {
	if s.window != nil && s.window.Equals(w) {
		return s.value, nil
	}
	value, err := read()
	if err == nil {
		s.window, s.value = w, value
	}
	return value, err
}
