package main

import (
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// addDevice adds the flags that say where training steps are computed.
func addDevice(c *cobra.Command, d *ssl.Device) {
	f := c.Flags()
	f.StringVar(&d.Name, "device", ssl.CPU, "where training steps are computed: cpu, cuda (an NVIDIA GPU), or auto (cuda where it works)")
	f.String("gpu-mem", "", "limit of the GPU memory in use, such as 40GiB; all if not given")
	f.StringVar(&d.Libraries, "cuda-libs", "", "folder with the CUDA libraries, looked at before the usual places; see `sdr doctor`")
	f.BoolVar(&d.Deterministic, "deterministic", false, "bitwise the same weights in every run on the same GPU; slower (on the CPU it is always so)")
}

// checkDevice reads the flags that have a unit, and refuses a device that cannot be used before any work is done. What
// the workers of a distant runner have is not known here.
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
	if distant(runner) {
		return nil
	}
	err := ssl.Check(*d)
	switch {
	case err == nil:
		return nil
	case d.Name == ssl.CUDA:
		return run.Usagef("%w; `sdr doctor` tells more, and --cuda-libs names a folder to look in first", err)
	}
	return run.Usage(err)
}
