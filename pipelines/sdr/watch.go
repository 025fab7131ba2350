package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
)

func newWatch() *cobra.Command {
	var addr string
	c := &cobra.Command{
		Use:   "watch RUN",
		Short: "Serve a page that follows a run, a study or another training",
		Long: `Serves a page that shows, and updates every few seconds, how far a run is: its
stages, losses, the collapse watch, images per second, data wait, time left,
subsets and the end of the log. Of a study, it shows every training, what is done,
and how long the rest takes if it takes as long as what is done; of sdr customize,
finetune and detect train, the curves. It only reads the folder, so the run may be another
process's, on another machine, done, or not begun yet.`,
		Example: `  sdr watch runs/first
  sdr watch classifier/
  sdr watch gs://bucket/runs/first --addr :8080`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return run.Usagef("want one folder of a run, a study or another training; see `%s --help`", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			watcher := pipelines.NewWatcher(args[0])
			if _, err := watcher.Page(c.Context()); err != nil {
				return err
			}
			listener, err := listen("addr", addr)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "http://%s shows %s; interrupt to end\n", listener.Addr(), args[0])
			return serveHTTP(c.Context(), listener, watcher)
		},
	}
	c.Flags().StringVar(&addr, "addr", "localhost:7878", "address to serve on; :PORT for all of this machine's")
	return c
}

// listen opens the address of a flag.
func listen(flag, addr string) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, run.Usagef("--%s %s: %w; give another HOST:PORT", flag, addr, err)
	}
	return listener, nil
}

// addMetrics adds the flag for Prometheus to a command, which then serves its metrics while it runs.
func addMetrics(c *cobra.Command) {
	addr := c.Flags().String("metrics", "", "HOST:PORT to serve metrics for Prometheus on, at /metrics")
	runE := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if *addr == "" {
			return runE(c, args)
		}
		listener, err := listen("metrics", *addr)
		if err != nil {
			return err
		}
		slog.Info("metrics for Prometheus", "url", "http://"+listener.Addr().String()+"/metrics")
		mux := http.NewServeMux()
		mux.Handle("/metrics", pipelines.MetricsHandler())
		ctx, cancel := context.WithCancel(c.Context())
		defer cancel()
		go func() {
			if err := serveHTTP(ctx, listener, mux); err != nil {
				slog.Warn("metrics are served no more", "error", err)
			}
		}()
		return runE(c, args)
	}
}

// serveHTTP serves until the context is canceled.
func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
