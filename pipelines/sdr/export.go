package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
)

func newExport() *cobra.Command {
	var dir, subnet, out string
	c := &cobra.Command{
		Use:   "export --run RUN --subnet unified|CODE --out FILE.safetensors",
		Short: "Export one net of a run to PyTorch",
		Long: `Writes the backbone under torchvision's names and shapes. In Python:

  model = torchvision.models.resnet18()
  model.fc = torch.nn.Identity()
  # if the recipe's backbone.stem is "small":
  model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
  model.maxpool = torch.nn.Identity()
  model.load_state_dict(safetensors.torch.load_file("FILE.safetensors"), strict=True)

A width other than 64 needs a ResNet of that width. For a MobileNetV2:

  model = torchvision.models.mobilenet_v2(width_mult=WIDTH/64)
  model.classifier = torch.nn.Identity()
  # if the recipe's backbone.stem is "small":
  model.features[0][0].stride = (1, 1)`,
		Example: `  sdr export --run runs/first --subnet unified --out unified.safetensors
  sdr export --run runs/first --subnet 2 --out sub-net-2.safetensors`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "run", "subnet", "out"); err != nil {
				return err
			}
			if err := checkFile("out", out, ".safetensors"); err != nil {
				return err
			}
			if err := pipelines.Export(c.Context(), dir, subnet, out); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), out)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "run", "", "run folder")
	f.StringVar(&subnet, "subnet", "", "unified, root, a code, or any other net that sdr inspect lists")
	f.StringVar(&out, "out", "", "safetensors file to write")
	return c
}
