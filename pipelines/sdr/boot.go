package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/container/tools"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"

	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/compute"
)

// serve makes this process a Beam worker if a runner has started it as one, and then does not return. The runner may give
// the flags of a worker or, in an environment of type PROCESS, those of the boot program that usually starts the worker:
// this program is its own, so that nothing has to be staged.
func serve() {
	given := func(name string) bool {
		return slices.ContainsFunc(os.Args[1:], func(a string) bool { return a == name || strings.HasPrefix(a, name+"=") })
	}
	switch {
	case given("--worker"):
		flag.Parse()
	case given("--provision_endpoint"):
		if err := boot(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "sdr: cannot start as a Beam worker:", err)
			os.Exit(exitFailed)
		}
	default:
		return
	}
	compute.Use(ssl.Device{Name: ssl.Auto}) // the launcher's flags do not come along
	beam.Init()                             // serves and does not return
}

// boot sets the flags of a worker to what the runner's provision service answers.
func boot(args []string) error {
	var id, endpoint string
	for _, a := range args { // a boot program knows more flags than these
		name, value, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch name {
		case "id":
			id = value
		case "provision_endpoint":
			endpoint = value
		}
	}
	info, err := tools.ProvisionInfo(grpcx.WriteWorkerID(context.Background(), id), endpoint)
	if err != nil {
		return err
	}
	options, err := tools.ProtoToJSON(info.GetPipelineOptions())
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"worker": "true", "id": id, "options": options,
		"logging_endpoint": info.GetLoggingEndpoint().GetUrl(), "control_endpoint": info.GetControlEndpoint().GetUrl(),
	} {
		if err := flag.Set(name, value); err != nil {
			return err
		}
	}
	go exitWithParent()
	return nil
}

// exitWithParent ends the process when the one that started it has ended: Beam's harness would wait forever.
func exitWithParent() {
	for parent := os.Getppid(); os.Getppid() == parent; {
		time.Sleep(time.Second)
	}
	os.Exit(exitFailed)
}
