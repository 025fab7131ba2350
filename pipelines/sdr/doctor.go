package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

func newDoctor() *cobra.Command {
	var d ssl.Device
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this machine can train on, and check the GPU's results against the CPU's",
		Long: `Shows which instruction set and how many threads training on the CPU uses; where
the CUDA libraries were found, or where they were searched for and what to
install; and whether a matrix product, a convolution and training steps give the
same values on the GPU as on the CPU. The exit code is 1 if any GPU check fails.`,
		Example: `  sdr doctor
  sdr doctor --cuda-libs venv/lib/python3.12/site-packages/nvidia`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			line := func(verdict, what string, detail any) {
				text := strings.TrimPrefix(fmt.Sprint(detail), "cuda: ")
				fmt.Fprintf(c.OutOrStdout(), "%-5s  %-26s  %s\n", verdict, what, text)
			}
			line("ok", "CPU", fmt.Sprintf("%s, %d threads", kernels.ISA(), runtime.GOMAXPROCS(0)))
			d.Name = ssl.CUDA
			found, err := ssl.Examine(d)
			if err != nil {
				return run.Usage(err)
			}
			wrong := 0
			for _, f := range found {
				if f.Err != nil {
					wrong++
					line("WRONG", f.What, f.Err)
					continue
				}
				line("ok", f.What, f.Detail)
			}
			if wrong > 0 {
				return fmt.Errorf("%d GPU checks failed; training on the CPU still works", wrong)
			}
			return nil
		},
	}
	c.Flags().StringVar(&d.Libraries, "cuda-libs", "", "folder of CUDA libraries, searched before the usual places")
	return c
}
