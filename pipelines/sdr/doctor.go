package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

func newDoctor() *cobra.Command {
	var d ssl.Device
	var data []string
	var columns imageio.Columns
	var format *string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine, with its GPU, or images before a training",
		Long: `Shows which instruction set and how many threads training on the CPU uses; where
the CUDA libraries were found, or where they were searched for and what to
install; and whether a matrix product, a convolution and training steps give the
same values on the GPU as on the CPU. The exit code is 1 if any GPU check fails.

With --data, it reads images instead and shows how many there are, of which formats
and sizes, and how many cannot be read, are of one color or clipped to white, or look
like another one, by a perceptual hash (pHash, of which at most 3 of 64 bits differ).

` + dataHelp,
		Example: `  sdr doctor
  sdr doctor --cuda-libs venv/lib/python3.12/site-packages/nvidia
  sdr doctor --data photos/ --data more.parquet`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if len(data) == 0 && c.Flags().Changed("format") {
				return run.Usagef("--format goes with --data")
			}
			if len(data) > 0 {
				return examineData(c, data, columns, *format)
			}
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
	addData(c, &data)
	addColumns(c, &columns, false)
	format = addFormat(c, "output format with --data", "table", "json")
	c.Flags().StringVar(&d.Libraries, "cuda-libs", "", "folder of CUDA libraries, searched before the usual places")
	return c
}

// examineData shows what images there are.
func examineData(c *cobra.Command, data []string, columns imageio.Columns, format string) error {
	report, err := pipelines.ExamineData(c.Context(), data, columns)
	if err != nil {
		return err
	}
	if format == "json" {
		return report.WriteJSON(c.OutOrStdout())
	}
	return report.WriteTable(c.OutOrStdout())
}
