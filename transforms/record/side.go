package record

import "github.com/apache/beam/sdks/v2/go/pkg/beam"

// Side keeps what a DoFn makes of a side input, so that it is made once for each
// window and not for each element. It is for bounded collections, of which a
// window's side input does not change.
type Side[T any] struct {
	window beam.Window
	value  T
}

// Get returns what read makes of the side input of a window.
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
