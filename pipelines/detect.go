package pipelines

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/uuid"

	"github.com/sdr-ml/sdr/stages/detect"
	"github.com/sdr-ml/sdr/stages/report"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/annotations"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/fault"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

// DetectTrainOptions are the arguments of DetectTrain.
type DetectTrainOptions struct {
	// Models are the files of the backbones. A net has the name of its file or, if that is model.safetensors, of its folder.
	// Several files of one name are a net that was pre-trained several times: the detector of seed i is trained on the i-th.
	Models []string
	// Seeds is the number of detectors per net, with the seeds 1, 2, ...; 0 means the number of files of a net.
	Seeds int
	// Config says how to train; its Dir is the folder to write to.
	Config detect.Config
	// Runner is the name of a registered Beam runner.
	Runner string
}

// detectInfo is the content of detect.json, which says what the detectors in a folder are.
type detectInfo struct {
	Format  int           `json:"format"` // see run.CheckFormat
	Version string        `json:"version"`
	Config  detect.Config `json:"config"`
	Nets    []detectNet   `json:"nets"`
}

// detectNet is a net, by its name and files: one for all seeds, or one for each.
type detectNet struct {
	Name   string   `json:"name"`
	Models []string `json:"models"`
}

// nets groups model files by the names of their nets, and returns how many seeds there are.
func (o *DetectTrainOptions) nets() (nets []detectNet, seeds int, err error) {
	seeds = o.Seeds
	for _, m := range o.Models {
		name := netName(m)
		at := slices.IndexFunc(nets, func(n detectNet) bool { return n.Name == name })
		if at < 0 {
			at = len(nets)
			nets = append(nets, detectNet{Name: name})
		}
		nets[at].Models = append(nets[at].Models, m)
		if o.Seeds == 0 {
			seeds = max(seeds, len(nets[at].Models))
		}
	}
	for _, n := range nets {
		if len(n.Models) > 1 && len(n.Models) != seeds {
			return nil, 0, run.Usagef("there are %d files of the net %s for %d seeds (%s); give one, or one per seed, or rename those of other nets",
				len(n.Models), n.Name, seeds, strings.Join(n.Models, ", "))
		}
	}
	return nets, seeds, nil
}

// model returns the file for a seed.
func (n detectNet) model(seed int) string { return n.Models[(seed-1)%len(n.Models)] }

const detectFile = "detect.json"

// netName returns the name of the net in a model file.
func netName(model string) string {
	if files.IsLocal(model) {
		if absolute, err := filepath.Abs(model); err == nil {
			model = filepath.ToSlash(absolute)
		}
	}
	if path.Base(model) == "model.safetensors" {
		return path.Base(path.Dir(model))
	}
	return strings.TrimSuffix(path.Base(model), path.Ext(model))
}

// DetectTrain trains detectors on backbones. Detectors that are there already are left as they are, and those that were
// being trained go on, unless the folder is of another configuration.
func DetectTrain(ctx context.Context, o DetectTrainOptions, version string) ([]detect.Detector, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, run.Usage(err)
	}
	info := detectInfo{Format: run.Format, Version: version, Config: o.Config.Settings()}
	for _, m := range o.Models {
		if _, err := inference.Load(ctx, m); err != nil {
			return nil, run.Usage(err)
		}
	}
	var seeds int
	var err error
	if info.Nets, seeds, err = o.nets(); err != nil {
		return nil, err
	}
	if err := checkAnnotations(ctx, o.Config.Data); err != nil {
		return nil, err
	}
	unlock, err := run.Lock(ctx, o.Config.Dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := info.write(ctx, o.Config.Dir); err != nil {
		return nil, err
	}
	defer shareTuning(ctx, files.Join(o.Config.Dir, "tuning"))()
	var jobs []*record.Batch
	for seed := 1; seed <= seeds; seed++ {
		for _, n := range info.Nets {
			jobs = append(jobs, record.Of([]detect.Job{{Net: n.Name, Model: n.model(seed), Seed: int64(seed)}}))
		}
	}
	var done []detect.Detector
	err = inParts(ctx, o.Config.Dir, func(parts string) error {
		p, s := beam.NewPipelineWithRoot()
		arrowio.WriteDir(s, parts, detect.Train(s, beam.CreateList(s, jobs), o.Config))
		if err := runPipeline(ctx, o.Runner, p); err != nil {
			return err
		}
		done, err = readOut[detect.Detector](ctx, parts)
		return err
	})
	if err == nil && len(done) != len(jobs) {
		err = errors.New("detect: the job ended before all detectors were trained; run it again")
	}
	return done, err
}

// inParts calls work with a folder below dir for the output of a job, and deletes it.
func inParts(ctx context.Context, dir string, work func(parts string) error) error {
	parts := files.Join(dir, ".parts-"+uuid.NewString())
	return errors.Join(work(parts), files.RemoveAll(context.WithoutCancel(ctx), parts))
}

// checkAnnotations refuses data that cannot be opened.
func checkAnnotations(ctx context.Context, data annotations.Config) error {
	set, err := annotations.Open(ctx, data)
	if err != nil {
		return run.Usage(err)
	}
	return set.Close()
}

// write writes detect.json, together with the nets that are in the folder already. It refuses a folder with other
// detectors.
func (i detectInfo) write(ctx context.Context, dir string) error {
	before, err := readDetectInfo(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return run.Usage(err)
	case run.Digest(before.Config) != run.Digest(i.Config):
		return run.Usagef("%s has detectors that were trained with other data or settings; give another folder", dir)
	}
	nets := before.Nets
	for _, n := range i.Nets {
		at := slices.IndexFunc(nets, func(o detectNet) bool { return o.Name == n.Name })
		if at < 0 {
			nets = append(nets, n)
		} else if !slices.Equal(nets[at].Models, n.Models) {
			return run.Usagef("%s has detectors of another net named %s (%s); give another folder", dir, n.Name, strings.Join(nets[at].Models, ", "))
		}
	}
	i.Nets = nets
	text, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	return files.WriteBytes(ctx, files.Join(dir, detectFile), append(text, '\n'))
}

func readDetectInfo(ctx context.Context, dir string) (i detectInfo, err error) {
	file := files.Join(dir, detectFile)
	text, err := files.Read(ctx, file)
	if err != nil {
		return i, fmt.Errorf("%s holds no detectors: %w", dir, err)
	}
	if err := json.Unmarshal(text, &i); err != nil {
		return i, fmt.Errorf("%s: %w", file, err)
	}
	if err := run.CheckFormat(i.Format); err != nil {
		return i, fmt.Errorf("%s: %w", file, err)
	}
	return i, nil
}

// DetectEvalOptions are the arguments of DetectEval.
type DetectEvalOptions struct {
	// Detectors is the folder that DetectTrain wrote.
	Detectors string
	// Data are the images to measure on.
	Data annotations.Config
	// Out is a Parquet file for the figures of every detector, Detections one for what they found, and Sheet an HTML file
	// with the figures of the nets and pictures of what was found; none is written if empty.
	Out, Detections, Sheet string
	// Limit says what becomes of images that cannot be used.
	Limit detect.Limit
	// Runner is the name of a registered Beam runner.
	Runner string
}

// DetectEval measures detectors.
func DetectEval(ctx context.Context, o DetectEvalOptions) (*detect.Results, error) {
	info, err := readDetectInfo(ctx, o.Detectors)
	if err != nil {
		return nil, run.Usage(err)
	}
	all, names, err := findDetectors(ctx, o.Detectors, info)
	if err != nil {
		return nil, err
	}
	set, err := annotations.Open(ctx, o.Data)
	if err != nil {
		return nil, run.Usage(err)
	}
	defer set.Close()
	defer shareTuning(ctx, files.Join(o.Detectors, "tuning"))()
	var rows []detect.Row
	var found []detect.Detection
	err = inParts(ctx, o.Detectors, func(parts string) error {
		rowsDir, foundDir := files.Join(parts, "rows"), files.Join(parts, "detections")
		var batches []*record.Batch
		for _, d := range all {
			batches = append(batches, record.Of([]detect.Detector{d}))
		}
		p, s := beam.NewPipelineWithRoot()
		detectors := beam.CreateList(s, batches)
		detections, dead := detect.Predict(s, detectors, o.Data, o.Limit)
		arrowio.WriteDir(s, foundDir, detections)
		arrowio.WriteDir(s, rowsDir, detect.Measure(s, detectors, detections, dead, annotations.Read(s, o.Data), names))
		if err := runPipeline(ctx, o.Runner, p); err != nil {
			return err
		}
		if rows, err = readOut[detect.Row](ctx, rowsDir); err != nil {
			return err
		}
		found, err = readOut[detect.Detection](ctx, foundDir)
		return err
	})
	if err != nil {
		return nil, err
	}
	results := detect.Collect(rows, o.Data.Path, set.Split)
	return results, o.write(ctx, set, all, rows, found, results)
}

// write writes the files that are asked for.
func (o *DetectEvalOptions) write(ctx context.Context, set *annotations.Set, detectors []detect.Detector, rows []detect.Row, found []detect.Detection, results *detect.Results) error {
	var errs []error
	if o.Out != "" {
		errs = append(errs, arrowio.SaveParquet(ctx, o.Out, record.Of(rows).Record))
	}
	slices.SortStableFunc(found, func(a, b detect.Detection) int { return strings.Compare(a.Net, b.Net) })
	if o.Detections != "" {
		errs = append(errs, arrowio.SaveParquet(ctx, o.Detections, record.Of(found).Record))
	}
	if o.Sheet != "" {
		errs = append(errs, o.writeSheet(ctx, set, detectors, found, results))
	}
	return errors.Join(errs...)
}

// writeSheet writes the figures and pictures of what was found.
func (o *DetectEvalOptions) writeSheet(ctx context.Context, set *annotations.Set, detectors []detect.Detector, found []detect.Detection, results *detect.Results) error {
	drawn, err := detect.Draw(ctx, set, detectors, found)
	if err != nil {
		return err
	}
	page := &report.DetectionPage{
		About:     report.About{Title: "Detections on " + set.Split, Facts: [][2]string{{"detectors", o.Detectors}, {"data", o.Data.Path}, {"split", set.Split}}},
		Results:   results,
		Annotated: true,
		Score:     detect.DrawnScore,
	}
	for i, d := range detectors {
		page.Galleries = append(page.Galleries, report.Gallery{Title: fmt.Sprintf("%s, seed %d", d.Net, d.Seed), Drawings: drawn[i]})
	}
	return files.Write(ctx, o.Sheet, func(w io.Writer) error { return report.WriteDetections(w, page) })
}

// findDetectors lists the finished detectors of a folder, in the order of its nets, and the names of these.
func findDetectors(ctx context.Context, dir string, info detectInfo) (all []detect.Detector, names []string, err error) {
	for _, n := range info.Nets {
		paths, err := files.List(ctx, files.Join(files.Quote(dir), files.Quote(n.Name), "*.safetensors"))
		if err != nil {
			return nil, nil, err
		}
		for _, p := range paths {
			seed, err := strconv.ParseInt(strings.TrimSuffix(path.Base(filepath.ToSlash(p)), ".safetensors"), 10, 64)
			if err != nil {
				continue // none of DetectTrain's
			}
			card, err := detect.ReadCard(ctx, p)
			if err != nil {
				return nil, nil, run.Usage(err)
			}
			all = append(all, detect.Detector{Net: n.Name, Seed: seed, Path: p, Loss: card.Loss})
		}
		names = append(names, n.Name)
	}
	if len(all) == 0 {
		return nil, nil, run.Usagef("%s has no finished detector yet; run sdr detect train again", dir)
	}
	if err := detect.Validate(all); err != nil {
		return nil, nil, run.Usagef("%s: %w", dir, err)
	}
	return all, names, nil
}

// DetectRouteOptions are the arguments of DetectRoute.
type DetectRouteOptions struct {
	// Run is the run folder.
	Run string
	// Config says how to choose; its Name is that of the data.
	Config detect.RouteConfig
	// Runner is the name of a registered Beam runner.
	Runner string
}

// DetectRoute chooses the net of a run that suits a detector best, and writes it to o.Config.Dir. It returns the scores of
// all nets, first that of the chosen one.
func DetectRoute(ctx context.Context, o DetectRouteOptions) (scores []route.Score, err error) {
	o.Config.Name = netName(o.Config.Data.Path)
	if err := o.Config.Validate(); err != nil {
		return nil, run.Usage(err)
	}
	folder, models, err := openTrained(ctx, o.Run)
	if err != nil {
		return nil, err
	}
	if err := checkAnnotations(ctx, o.Config.Data); err != nil {
		return nil, err
	}
	defer shareTuning(ctx, folder.TuningDir())()
	err = inParts(ctx, o.Config.Dir, func(parts string) error {
		p, s := beam.NewPipelineWithRoot()
		arrowio.WriteDir(s, parts, detect.Route(s, createModels(s, models), o.Config))
		if err := runPipeline(ctx, o.Runner, p); err != nil {
			return err
		}
		scores, err = readOut[route.Score](ctx, parts)
		return err
	})
	if err == nil && len(scores) == 0 {
		err = errors.New("detect: the job ended without a result; run it again")
	}
	return scores, err
}

// DetectTiles writes squares of the images of a split as a task to customize for: a Parquet file with the columns image and
// label. It returns their number.
func DetectTiles(ctx context.Context, data annotations.Config, cfg detect.TileConfig, out string) (n int, err error) {
	if err := cfg.Validate(); err != nil {
		return 0, run.Usage(err)
	}
	set, err := annotations.Open(ctx, data)
	if err != nil {
		return 0, run.Usage(err)
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	tiles, err := detect.Tiles(ctx, set, cfg)
	if err != nil {
		return 0, run.Usage(fault.Parse(err))
	}
	if len(tiles) == 0 {
		return 0, run.Usagef("%s: the split %s has no images", data.Path, set.Split)
	}
	return len(tiles), arrowio.SaveParquet(ctx, out, record.Of(tiles).Record)
}

// Detected is the schema of the file that DetectPredict writes: an object in an image, or an image that could not be read. An
// image in which nothing is found has no row.
type Detected struct {
	// Source is the image's file, the file that contains it, or archive!member.
	Source string `arrow:"source"`
	// Row is the image's index in a file whose images have no names, otherwise 0.
	Row int64 `arrow:"row"`
	// Class is the name of the object's class, and Score how sure the detector is, from 0 to 1.
	Class string  `arrow:"class"`
	Score float64 `arrow:"score"`
	// Left, Top, Width and Height are the box, in pixels of the image.
	Left   float64 `arrow:"left"`
	Top    float64 `arrow:"top"`
	Width  float64 `arrow:"width"`
	Height float64 `arrow:"height"`
	// Error says why the image could not be read; otherwise it is empty.
	Error string `arrow:"error"`
}

// DetectPredictOptions are the arguments of DetectPredict.
type DetectPredictOptions struct {
	// EmbedOptions are those of Embed, with a detector's file as the Model. Detectors compute on the CPU, whatever the Device.
	EmbedOptions
	// MinScore is the score of an object below which it is left out.
	MinScore float64
	// Sheet is an HTML file with pictures of what was found; none is written if it is empty.
	Sheet string
}

// DetectPredict writes the objects that a detector finds in images to a Parquet file, by the images in the order in which
// these are found, and the surest of each first. It returns the number of images, how many could not be read, and that of the
// objects.
func DetectPredict(ctx context.Context, o DetectPredictOptions) (images, bad, objects int64, err error) {
	card, err := detect.ReadCard(ctx, o.Model)
	if err != nil {
		return 0, 0, 0, run.Usage(err)
	}
	tuning := ""
	if dir := files.Dir(files.Dir(o.Model)); files.IsFolder(ctx, dir) {
		if _, err := readDetectInfo(ctx, dir); err == nil {
			tuning = files.Join(dir, "tuning") // as in DetectEval
		}
	}
	var found []detect.Found
	rows, images, bad, err := perImage[detect.Found, Detected]{
		o: o.EmbedOptions, tuning: tuning,
		compute: func(s beam.Scope, images beam.PCollection) (rows, dead beam.PCollection) {
			return detect.Find(s, images, o.Model, o.MinScore), beam.PCollection{}
		},
		good: func(r detect.Found) imageRow[Detected] {
			im := imageRow[Detected]{index: r.Index, labeled: r.Labeled, lost: r.LabelLost, damaged: r.Damage != ""}
			for _, d := range r.Detections(card.Classes) {
				im.rows = append(im.rows, Detected{
					Source: r.Source, Row: r.Row, Class: d.Class, Score: d.Score, Left: d.Left, Top: d.Top, Width: d.Width, Height: d.Height,
				})
			}
			found = append(found, r)
			return im
		},
		bad: func(d imageio.Dead) Detected { return Detected{Source: d.Source, Row: d.Row, Error: d.Reason} },
	}.run(ctx)
	if err == nil && o.Sheet != "" {
		err = o.writeSheet(ctx, card, found)
	}
	return images, bad, int64(len(rows)) - bad, err
}

// writeSheet writes pictures of what was found.
func (o *DetectPredictOptions) writeSheet(ctx context.Context, card detect.Card, found []detect.Found) error {
	splits, _, err := imageio.Survey(ctx, o.Data, splitImages, o.Columns)
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b detect.Found) int { return cmp.Compare(a.Index, b.Index) })
	found = slices.CompactFunc(found, func(a, b detect.Found) bool { return a.Index == b.Index }) // a runner may have computed one twice
	drawn, err := detect.DrawFound(ctx, splits, card, found)
	if err != nil {
		return err
	}
	page := &report.DetectionPage{
		About:     report.About{Title: "Detections", Facts: [][2]string{{"detector", o.Model}, {"data", strings.Join(o.Data, ", ")}}},
		Score:     o.MinScore,
		Galleries: []report.Gallery{{Drawings: drawn}},
	}
	return files.Write(ctx, o.Sheet, func(w io.Writer) error { return report.WriteDetections(w, page) })
}
