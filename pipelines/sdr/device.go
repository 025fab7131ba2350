package main

import (
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/compute"
)

// addDevice adds the flags that choose the device.
func addDevice(c *cobra.Command, d *ssl.Device) {
	f := c.Flags()
	f.StringVar(&d.Name, "device", ssl.Auto, "device to compute on: cpu, cuda (an NVIDIA GPU), or auto (cuda if it works)")
	f.String("gpu-mem", "", "limit on GPU memory, such as 40GiB; default: all of it")
	f.StringVar(&d.Libraries, "cuda-libs", "", "folder of CUDA libraries, searched before the usual places; see sdr doctor")
	f.BoolVar(&d.Deterministic, "deterministic", false, "bitwise identical results in every run on the same GPU, but slower (the CPU is always deterministic)")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// checkMachines refuses a runner or a device that cannot be used; see checkRunner and checkDevice.
func checkMachines(c *cobra.Command, d *ssl.Device, runner string, alone bool) error {
	if err := checkRunner(runner, alone); err != nil {
		return err
	}
	return checkDevice(c, d, runner)
}

// checkDevice parses the flags that have a unit, says which device auto means, and fails early if the device cannot be
// used. What the workers of a remote runner have is not known here.
func checkDevice(c *cobra.Command, d *ssl.Device, runner string) error {
	if text, err := c.Flags().GetString("gpu-mem"); err != nil {
		return err
	} else if text != "" {
		size, err := humanize.ParseBytes(strings.TrimSpace(text))
		if err != nil || size == 0 || size > 1<<50 {
			return run.Usagef("--gpu-mem %q: want a size such as 40GiB", text)
		}
		d.Memory = int64(size)
	}
	if !slices.Contains([]string{ssl.CPU, ssl.CUDA, ssl.Auto}, d.Name) {
		return run.Usage(ssl.Check(*d))
	}
	if slices.Contains(distant, runner) {
		return nil
	}
	if d.Name == ssl.Auto {
		var why error
		*d, why = ssl.Resolve(*d)
		switch {
		case why == nil:
			slog.Info("a GPU is used; --device cpu does without")
		case slices.ContainsFunc([]string{"/dev/nvidiactl", "/dev/dxg"}, exists): // on Linux, on Windows' Linux
			reason, _, _ := strings.Cut(why.Error(), "\n")
			slog.Warn("there seems to be a GPU, but it cannot be used; see sdr doctor", "reason", reason)
		}
	}
	switch err := ssl.Check(*d); {
	case err == nil:
		compute.Use(*d)
		return nil
	case d.Name == ssl.CUDA:
		return run.Usagef("%w; run `sdr doctor` for details, or name the libraries' folder with --cuda-libs", err)
	default:
		return run.Usage(err)
	}
}
