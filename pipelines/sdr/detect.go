package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/detect"
	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/annotations"
	"github.com/sdr-ml/sdr/transforms/files"
)

// The splits to take if none is given, the first that there is.
var (
	trainSplits = []string{"trainval", "train", "train*", "all"}
	testSplits  = []string{"test", "val", "val*", "test*"}
)

// detectSize is the length to which the longer side of an image is scaled, unless another is given.
const detectSize = 160

const detectHelp = `--data is a folder or a tar archive of Pascal VOC (Annotations/, JPEGImages/,
ImageSets/Main/) or COCO (annotations/instances_*.json, or SPLIT/_annotations.coco.json),
or a JSON file of COCO's. --split names the split. An image that is broken, or whose
annotation is, is left out and listed with the reason; if the fraction of such images
exceeds --max-bad, the command fails.`

func newDetect() *cobra.Command {
	c := &cobra.Command{
		Use:   "detect",
		Short: "Train and measure detectors of objects on backbones",
		Long: `Compares backbones as detectors of objects: FCOS with a small feature pyramid and
head, on backbones from sdr route, customize or export.

  route   the net of a run that suits a detector best
  tiles   squares of its images as a task, for sdr customize
  train   detectors on one or more backbones, with several seeds
  eval    average precision, and the difference between backbones
  predict the objects in images of your own

` + detectHelp,
		Args: commandArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newDetectRoute(), newDetectTiles(), newDetectTrain(), newDetectEval(), newDetectPredict())
	return c
}

// addAnnotations adds the flags of annotated data; read returns the data, with the splits to take if none is given. The images
// that are left out are listed in a file.
func addAnnotations(c *cobra.Command, limit *detect.Limit) (read func(splits []string, deadLetter string) (annotations.Config, error)) {
	var cfg annotations.Config
	var split string
	f := c.Flags()
	f.StringVar(&cfg.Path, "data", "", "annotated images: a folder, a tar archive or a JSON file")
	f.StringVar(&split, "split", "", "the split of the data, such as trainval or val2017")
	f.StringVar(&cfg.Images, "images", "", "the folder of the images of a JSON file, if they are elsewhere")
	addMaxBad(c, &limit.MaxBad)
	return func(splits []string, deadLetter string) (annotations.Config, error) {
		if cfg.Splits = splits; split != "" {
			cfg.Splits = []string{split}
		}
		limit.DeadLetter = deadLetter
		return cfg, checkMaxBad(limit.MaxBad)
	}
}

// reportDead says how many images are left out, if any are.
func reportDead(c *cobra.Command, limit detect.Limit) error {
	dead, err := ingest.ReadDead(c.Context(), limit.DeadLetter)
	if len(dead) > 0 {
		fmt.Fprintf(c.OutOrStdout(), "%s could not be used: %s\n", english.Plural(len(dead), "image", ""), limit.DeadLetter)
	}
	return err
}

// deadLetterFile is the name of the file that lists images that are left out.
const deadLetterFile = "dead-letter.parquet"

func newDetectRoute() *cobra.Command {
	var o pipelines.DetectRouteOptions
	cfg := &o.Config
	c := &cobra.Command{
		Use:   "route --run RUN --data PATH --out DIR",
		Short: "Choose the net of a run that suits a detector best",
		Long: `Scores every sub-net, and the unified net if the run has one, with the BatchNorm
statistics of its training and with those of the data's images. The score is the
average precision of a detector that is linear in the net's feature maps and fitted
in closed form to three quarters of the images, on the others, in turn. Of the nets
whose score is less than the best one by no more than the standard error of the
difference, it takes one nearest the root (the unified net is as near as the root),
and of these the best. It never reads another split.

DIR gets
  scores.parquet      the score of every net with either statistics, best first
  model.safetensors   the winner's backbone, under torchvision's names
  model.json          which net it is
  dead-letter.parquet the images that are left out, if any

` + detectHelp,
		Example: `  sdr detect route --run runs/mine --data fruit.tar --out routed/
  sdr detect route --run runs/mine --data coco/ --split train2017 --size 320 --out routed/`,
		Args: noArgs,
	}
	data := addAnnotations(c, &cfg.Limit)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := required(c, "run", "data", "out"); err != nil {
			return err
		}
		if err := checkFolder("out", cfg.Dir); err != nil {
			return err
		}
		if err := checkRunner(o.Runner, false); err != nil {
			return err
		}
		var err error
		if cfg.Data, err = data(trainSplits, files.Join(cfg.Dir, deadLetterFile)); err != nil {
			return err
		}
		scores, err := pipelines.DetectRoute(c.Context(), o)
		if err != nil {
			return withRemedy(err)
		}
		first := scores[0]
		fmt.Fprintf(c.OutOrStdout(), "%s: net %s, norm %s, AP %.1f of a linear detector on held-out images, in %s\n",
			first.Task, first.Subnet, first.Norm, first.Score, cfg.Dir)
		return reportDead(c, cfg.Limit)
	}
	f := c.Flags()
	f.StringVar(&o.Run, "run", "", "run folder")
	f.StringVar(&cfg.Dir, "out", "", "folder for the results")
	f.IntVar(&cfg.Size, "size", detectSize, "pixels of an image's longer side, a multiple of 32")
	f.IntVar(&cfg.Images, "most", 500, "the largest number of images to score with")
	f.StringSliceVar(&cfg.Norms, "norm", route.Norms, "BatchNorm statistics to try")
	f.BoolVar(&cfg.SubnetsOnly, "without-unified", false, "leave the unified net out")
	addRunner(c, &o.Runner)
	return c
}

func newDetectTiles() *cobra.Command {
	var cfg detect.TileConfig
	var out string
	c := &cobra.Command{
		Use:   "tiles --data PATH --out FILE.parquet",
		Short: "Cut images into a task, to customize a backbone for a detector",
		Long: `Writes squares of the images, from random places and at the scale of a detector's
input, so that sdr customize can train a backbone on what the detector will see. The
label is the class of the object over the middle, or background. Images that are left
out are listed in FILE.dead-letter.parquet.

` + detectHelp,
		Example: `  sdr detect tiles --data fruit.tar --out fruit-tiles.parquet
  sdr customize --run runs/mine --task fruit-tiles.parquet --out customized/ --images 25600`,
		Args: noArgs,
	}
	data := addAnnotations(c, &cfg.Limit)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := required(c, "data", "out"); err != nil {
			return err
		}
		if err := checkFile("out", out, ".parquet"); err != nil {
			return err
		}
		from, err := data(trainSplits, strings.TrimSuffix(out, ".parquet")+"."+deadLetterFile)
		if err != nil {
			return err
		}
		tiles, err := pipelines.DetectTiles(c.Context(), from, cfg, out)
		if err != nil {
			return withRemedy(err)
		}
		fmt.Fprintf(c.OutOrStdout(), "%s in %s\n", english.Plural(tiles, "tile", ""), out)
		return reportDead(c, cfg.Limit)
	}
	f := c.Flags()
	f.IntVar(&cfg.Size, "size", detectSize, "pixels of an image's longer side")
	f.IntVar(&cfg.Side, "side", 32, "least pixels of a tile's side, such as the input size of the backbone; the most are half as many again")
	f.IntVar(&cfg.PerImage, "per-image", 16, "tiles of an image")
	f.IntVar(&cfg.Images, "most", 2000, "the largest number of images")
	f.StringVar(&out, "out", "", "Parquet file to write; one that is there is replaced")
	return c
}

func newDetectTrain() *cobra.Command {
	var o pipelines.DetectTrainOptions
	cfg := &o.Config
	c := &cobra.Command{
		Use:   "train --model FILE [--model FILE ...] --data PATH --out DIR",
		Short: "Train detectors on backbones",
		Long: `Trains FCOS (arXiv 1904.01355) on each backbone with each seed, and writes
DIR/NET/SEED.safetensors, and SEED.metrics.jsonl with a line per epoch, which sdr
watch draws, and SEED.tensorboard/ with the same for TensorBoard. NET is the name of
the model file without its extension or, for model.safetensors, of its folder.
Several files of one name are a net that was pre-trained several times, and the
detector of each seed is trained on one.
Detectors that are in DIR already are left as they are, so that the same command
continues after an interruption, with the same result, and more models or seeds
can be added. Images that are left out are listed in DIR/dead-letter.parquet.

The backbone stays as it is, and its features are computed once, unless
--backbone-lr is above 0. Its BatchNorm statistics never change. Images are scaled
so that their longer side has --size pixels, and half of them are mirrored. They
are kept in memory. Everything is computed on the CPU.

` + detectHelp,
		Example: `  sdr detect train --model unified.safetensors --model routed/model.safetensors --data fruit.tar --seeds 3 --out runs/fruit
  sdr detect train --model routed/model.safetensors --data coco/ --split train2017 --size 320 --backbone-lr 0.0001 --out runs/coco`,
		Args: noArgs,
	}
	data := addAnnotations(c, &cfg.Limit)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := required(c, "model", "data", "out"); err != nil {
			return err
		}
		if o.Seeds < 0 || c.Flags().Changed("seeds") && o.Seeds == 0 {
			return run.Usagef("--seeds %d: want at least 1", o.Seeds)
		}
		if err := checkRunner(o.Runner, false); err != nil {
			return err
		}
		var err error
		if cfg.Data, err = data(trainSplits, files.Join(cfg.Dir, deadLetterFile)); err != nil {
			return err
		}
		start := time.Now()
		made, err := pipelines.DetectTrain(c.Context(), o, version)
		if err != nil {
			return withRemedy(err)
		}
		slog.Info("detectors are trained", "took", time.Since(start).Round(100*time.Millisecond))
		fmt.Fprintf(c.OutOrStdout(), "%s in %s\n", english.Plural(len(made), "detector", ""), cfg.Dir)
		return reportDead(c, cfg.Limit)
	}
	f := c.Flags()
	f.StringArrayVar(&o.Models, "model", nil, "model file written by route, customize or export, or its folder; can be repeated")
	f.IntVar(&o.Seeds, "seeds", 0, "the number of detectors per net (default the number of its files)")
	f.StringVar(&cfg.Dir, "out", "", "folder for the detectors")
	f.IntVar(&cfg.Size, "size", detectSize, "pixels of an image's longer side, a multiple of 32")
	f.IntVar(&cfg.Channels, "channels", 32, "features per point of the pyramid and the head")
	f.IntVar(&cfg.Convs, "convs", 2, "convolutions in each tower of the head")
	f.IntVar(&cfg.Batch, "batch", 16, "images per step")
	f.IntVar(&cfg.Epochs, "epochs", 40, "how often each image is seen")
	f.Float64Var(&cfg.LR, "lr", .002, "peak learning rate of the pyramid and the head")
	f.Float64Var(&cfg.BackboneLR, "backbone-lr", 0, "peak learning rate of the backbone; 0 leaves it as it is")
	f.DurationVar(&cfg.Every, "checkpoint", 30*time.Second, "how often a checkpoint is written")
	addMetrics(c)
	addRunner(c, &o.Runner)
	return c
}

func newDetectEval() *cobra.Command {
	var o pipelines.DetectEvalOptions
	var format *string
	formats := map[string]func(*detect.Results, io.Writer) error{
		"table": (*detect.Results).WriteTable,
		"json":  (*detect.Results).WriteJSON,
		"csv":   (*detect.Results).WriteCSV,
	}
	c := &cobra.Command{
		Use:   "eval --detectors DIR --data PATH",
		Short: "Measure detectors: COCO's average precision",
		Long: `Prints COCO's average precision (AP), as pycocotools computes it, for each backbone
as the mean over its seeds, and for each class; the difference to the first
backbone; and 95 % intervals of AP and of the difference, over test images and
seeds. Objects that Pascal VOC marks as difficult count neither as found nor as
missed. Images that are left out are listed in DIR/eval-dead-letter.parquet, and the
figures are those of a split without them.

` + detectHelp,
		Example: `  sdr detect eval --detectors runs/fruit --data fruit.tar --sheet fruit.html
  sdr detect eval --detectors runs/coco --data coco/ --split val2017 --format json > coco.json`,
		Args: noArgs,
	}
	data := addAnnotations(c, &o.Limit)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := required(c, "detectors", "data"); err != nil {
			return err
		}
		for _, file := range []struct{ flag, path, extension string }{
			{"out", o.Out, ".parquet"}, {"detections", o.Detections, ".parquet"}, {"sheet", o.Sheet, ".html"},
		} {
			if file.path == "" {
				continue
			}
			if err := checkFile(file.flag, file.path, file.extension); err != nil {
				return err
			}
		}
		if err := checkRunner(o.Runner, false); err != nil {
			return err
		}
		var err error
		if o.Data, err = data(testSplits, files.Join(o.Detectors, "eval-"+deadLetterFile)); err != nil {
			return err
		}
		results, err := pipelines.DetectEval(c.Context(), o)
		if err != nil {
			return withRemedy(err)
		}
		if results.LeftOut > 0 {
			slog.Warn("images could not be used, so that the figures are of the others", "left_out", results.LeftOut, "of", results.LeftOut+results.Images, "listed_in", o.Limit.DeadLetter)
		}
		return formats[*format](results, c.OutOrStdout())
	}
	f := c.Flags()
	f.StringVar(&o.Detectors, "detectors", "", "folder that sdr detect train wrote")
	format = addFormat(c, "output format", "table", "json", "csv")
	f.StringVar(&o.Out, "out", "", "also write the figures of every detector to this Parquet file, replacing it")
	f.StringVar(&o.Detections, "detections", "", "also write what was found to this Parquet file, replacing it")
	f.StringVar(&o.Sheet, "sheet", "", "also write the figures and pictures of what was found to this HTML file, replacing it")
	addRunner(c, &o.Runner)
	return c
}

func newDetectPredict() *cobra.Command {
	var o pipelines.DetectPredictOptions
	c := &cobra.Command{
		Use:   "predict --model FILE --data PATH --out FILE.parquet",
		Short: "Find objects in images with a detector from sdr detect train",
		Long: `Writes one row per object, by the images in the order in which they are found and the
surest object of each first: source, row, class, score (0 to 1), left, top, width,
height (the box, in pixels of the image), and error. If an image could not be read,
it has a row in which error says why and the score is 0; an image in which nothing
is found has none. The images need no annotations. Everything is computed on the CPU.

` + dataHelp,
		Example: `  sdr detect predict --model runs/fruit/unified/1.safetensors --data photos/ --out objects.parquet
  sdr detect predict --model runs/fruit/unified/1.safetensors --data photos/ --min-score 0.5 --out objects.parquet --sheet objects.html`,
		Args: noArgs,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := required(c, "model", "data", "out"); err != nil {
			return err
		}
		if !(o.MinScore >= 0 && o.MinScore <= 1) {
			return run.Usagef("--min-score %v: want a number from 0 to 1", o.MinScore)
		}
		if err := checkFile("out", o.Out, ".parquet"); err != nil {
			return err
		}
		if o.Sheet != "" {
			if err := checkFile("sheet", o.Sheet, ".html"); err != nil {
				return err
			}
		}
		if err := checkRunner(o.Runner, false); err != nil {
			return err
		}
		images, bad, objects, err := pipelines.DetectPredict(c.Context(), o)
		if err != nil {
			return err
		}
		if err := reportImages(c.OutOrStdout(), o.Out, images, bad); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s found\n", english.Plural(int(objects), "object", ""))
		return nil
	}
	f := c.Flags()
	f.StringVar(&o.Model, "model", "", "detector, such as DIR/NET/SEED.safetensors of sdr detect train")
	addData(c, &o.Data)
	addColumns(c, &o.Columns, false)
	f.StringVar(&o.Out, "out", "", "Parquet file to write; one that is there is replaced")
	f.Float64Var(&o.MinScore, "min-score", .3, "least score of an object; below 0.01 there are none")
	f.StringVar(&o.Sheet, "sheet", "", "also write pictures of the first images in which something is found to this HTML file, replacing it")
	addRunner(c, &o.Runner)
	return c
}
