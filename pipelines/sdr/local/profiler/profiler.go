// Package profiler takes the place of the Cloud Profiler in local builds.
package profiler

import "errors"

// Config is what Beam sets of the profiler's configuration.
type Config struct{ Service, ServiceVersion string }

// Start is an error.
func Start(Config) error {
	return errors.New("this program was built with the tag local, without the Cloud Profiler; build it without, by `make build`")
}
