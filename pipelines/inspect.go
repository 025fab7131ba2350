package pipelines

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/sdr-ml/sdr/stages/partition"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// Stages lists the stages of a run in order.
var Stages = []string{"ingest", "phase0", "features", "partition", "train", "random", "unified", "route", "evaluate", "deliver", "report"}

// ofExtension lists the stages that only an extended run has.
var ofExtension = []string{"assign", "extend"}

// Status is what is known of a run.
type Status struct {
	Run    run.Info       `json:"run"`
	Recipe *recipe.Recipe `json:"-"`
	// Stages are the stages that are done.
	Stages []*run.Manifest `json:"stages"`
	// Bytes are the sizes on disk of the run's parts; empty if the run is not local.
	Bytes map[string]int64 `json:"bytes"`
	// Subsets are the numbers of images of the subsets, by their codes.
	Subsets map[string]int64 `json:"subsets"`
	// Quality says how good the subsets are as clusters, by their codes; empty unless partition.method is kmeans.
	Quality map[string]Quality `json:"quality,omitempty"`
	// Agreement is the adjusted mutual information of the subsets and the files or folders that the images come from; nil
	// if that is not known.
	Agreement *float64 `json:"agreement"`
	// Labels compares the subsets with labels; see CompareLabels.
	Labels *Labels `json:"labels,omitempty"`
	// Nets are the finished nets.
	Nets []Net `json:"nets"`
	// HeldOut are the comparisons of the sub-nets with the root on held-out images, if there are any.
	HeldOut []train.Judgment `json:"held_out,omitempty"`

	refs []shards.Ref // of the images of the subsets
}

// Labels compares subsets with the labels of images, which no training reads.
type Labels struct {
	// Data are the labeled images, and Images is the number of these that are in a subset.
	Data   []string `json:"data"`
	Images int64    `json:"images"`
	// Agreement is the adjusted mutual information of the subsets and the labels.
	Agreement float64 `json:"agreement"`
}

// Quality says how good a cluster is; see kmeans.Centroid.
type Quality struct {
	Inertia    float64 `json:"inertia"`
	Silhouette float64 `json:"silhouette"`
}

// Net is what is known of a finished net; see train.Model.
type Net struct {
	Name         string  `json:"name"`
	Variant      string  `json:"variant"`
	Level        int64   `json:"level"`
	Steps        int64   `json:"steps"`
	SubsetImages int64   `json:"subset_images"`
	Loss         float64 `json:"loss"`
	Std          float64 `json:"std"`
	File         string  `json:"file"`
}

// Inspect returns the status of a run.
func Inspect(ctx context.Context, dir string) (*Status, error) {
	folder, err := run.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	text, err := files.Read(ctx, folder.RecipePath())
	if err != nil {
		return nil, err
	}
	st := &Status{Run: folder.Info, Bytes: map[string]int64{}, Subsets: map[string]int64{}}
	if st.Recipe, err = recipe.Parse(text); err != nil {
		return nil, fmt.Errorf("%s: %w", folder.RecipePath(), err)
	}
	for _, name := range slices.Concat(Stages, ofExtension) {
		m, err := folder.ReadManifest(ctx, name)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		st.Stages = append(st.Stages, m)
		if name == "partition" {
			if err := st.readSubsets(ctx, outDir(folder, name, m.Inputs)); err != nil {
				return nil, err
			}
			if st.Recipe.Partition.Method == partition.KMeans {
				st.readQuality(ctx, folder.StageDir(name))
			}
		}
	}
	for _, part := range slices.Concat(Stages, ofExtension, []string{"checkpoints", "models"}) {
		if size := folder.Size(part); size > 0 {
			st.Bytes[part] = size
		}
	}
	if st.HeldOut, err = train.ReadJudgments(ctx, dir); err != nil {
		return nil, err
	}
	models, err := train.ReadModels(ctx, dir)
	for _, m := range models {
		st.Nets = append(st.Nets, Net{m.Subnet, m.Variant, m.Level, m.Steps, m.SubsetImages, m.Loss, m.Std, m.Path})
	}
	return st, err
}

// readSubsets reads the sizes of the subsets from partition's output.
func (st *Status) readSubsets(ctx context.Context, partitioned string) error {
	refs, err := readOut[shards.Ref](ctx, partitioned)
	if err != nil {
		return err
	}
	st.refs = refs
	for _, ref := range refs {
		for level := range sdrnet.Level(ref.Subset) {
			st.Subsets[sdrnet.Prefix(ref.Subset, level+1)] += ref.Rows
		}
	}
	if !files.IsLocal(partitioned) {
		return nil
	}
	agreement, err := partition.Agreement(ctx, refs)
	if err != nil {
		slog.Debug("the shards cannot be read", "error", err) // the run has moved, or was shrunk
		return nil
	}
	st.Agreement = &agreement
	return nil
}

// CompareLabels compares the subsets with the labels of images that the run was trained on: paths are files and folders
// as they were given to it. The classes of different paths are different ones.
func (st *Status) CompareLabels(ctx context.Context, paths []string, columns imageio.Columns) error {
	if len(st.refs) == 0 {
		return run.Usagef("the run has no subsets yet that could be compared with labels")
	}
	labels := map[shards.Source]string{}
	for i, path := range paths {
		splits, _, err := imageio.Survey(ctx, []string{path}, math.MaxInt32, columns)
		if err != nil {
			return run.Usage(err)
		}
		for _, split := range splits {
			err := imageio.ReadSplit(ctx, split, func(im imageio.Image) error {
				switch at := (shards.Source{Source: im.Source, Row: im.Row}); {
				case im.LabelError != "":
					return run.Usagef("%s: %s", im.Source, im.LabelError)
				case im.Label >= 0:
					labels[at] = fmt.Sprintf("%d/%d", i, im.Label)
				case im.Class != "":
					labels[at] = fmt.Sprintf("%d/%s", i, im.Class)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	st.Labels = &Labels{Data: paths}
	var err error
	st.Labels.Agreement, st.Labels.Images, err = partition.LabelAgreement(ctx, st.refs, labels)
	if err == nil && st.Labels.Images == 0 {
		err = run.Usagef("%s: no labeled image is one of the run's; give the files and folders as they were given to the run: %v", strings.Join(paths, ", "), st.Run.Data)
	}
	return err
}

// readQuality reads what k-means found, from partition's folder.
func (st *Status) readQuality(ctx context.Context, stage string) {
	clusters, _, err := partition.ReadSubsets(ctx, stage, false)
	if err != nil {
		slog.Debug("the clusters cannot be read", "error", err) // of an older version, or removed
		return
	}
	st.Quality = map[string]Quality{}
	for _, c := range clusters {
		st.Quality[c.Code] = Quality{c.Inertia, c.Silhouette}
	}
}

// WriteJSON writes the status as indented JSON.
func (st *Status) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(st)
}

// listed is the number of subsets or nets up to which WriteTable lists each by itself.
const listed = 32

// WriteTable writes the status as tables for people. If there are many subsets or nets, it sums up those of each level,
// unless all is set.
func (st *Status) WriteTable(w io.Writer, all bool) error {
	tables := []table.Writer{st.stageTable()}
	if len(st.Subsets) > 0 {
		tables = append(tables, st.subsetTable(all || len(st.Subsets) <= listed))
	}
	if len(st.Nets) > 0 {
		tables = append(tables, st.netTable(all || len(st.Nets) <= listed))
	}
	if len(st.HeldOut) > 0 {
		tables = append(tables, st.heldOutTable(all || len(st.HeldOut) <= listed))
	}
	_, err := fmt.Fprintf(w, "run      %s\ncreated  %s by sdr %s\ndata     %v\nrecipe   %s\ninit     %v\n\n",
		st.Run.ID, st.Run.Created.Format("2006-01-02 15:04:05"), st.Run.Version, st.Run.Data, st.Recipe.Summary(), st.Run.Init)
	for _, t := range tables {
		if err == nil {
			_, err = fmt.Fprintln(w, t.Render())
		}
	}
	if err == nil && st.Agreement != nil {
		_, err = fmt.Fprintf(w, "adjusted mutual information of the subsets and the files or folders that the images come from: %.2f\n", *st.Agreement)
	}
	if err == nil && st.Labels != nil {
		_, err = fmt.Fprintf(w, "adjusted mutual information of the subsets and the labels of %d images: %.2f\n", st.Labels.Images, st.Labels.Agreement)
	}
	return err
}

func (st *Status) stageTable() table.Writer {
	t := newTable("stage", "state", "seconds", "on disk")
	size := func(part string) string { return humanize.IBytes(uint64(st.Bytes[part])) }
	for _, name := range slices.Concat(Stages, ofExtension) {
		state, seconds := "not done", ""
		at := slices.IndexFunc(st.Stages, func(m *run.Manifest) bool { return m.Stage == name })
		if at < 0 && slices.Contains(ofExtension, name) {
			continue
		}
		if at >= 0 {
			m := st.Stages[at]
			state, seconds = "done "+m.Finished.Format("15:04:05"), fmt.Sprintf("%.1f", m.Seconds)
		}
		t.AppendRow(table.Row{name, state, seconds, size(name)})
	}
	for _, part := range []string{"checkpoints", "models"} {
		t.AppendRow(table.Row{part, "", "", size(part)})
	}
	return t
}

func (st *Status) subsetTable(each bool) table.Writer {
	codes := slices.SortedFunc(maps.Keys(st.Subsets), sdrnet.Compare)
	if each {
		t := newTable("subset", "images", "inertia", "silhouette")
		for _, code := range codes {
			t.AppendRow(append(table.Row{code, humanize.Comma(st.Subsets[code])}, st.quality(code)...))
		}
		return t
	}
	t := newTable("level", "subsets", "images (least, median, most)", "inertia", "silhouette")
	byLevel(codes, func(code string) int64 { return int64(sdrnet.Level(code)) }, func(level int64, codes []string) {
		row := table.Row{level, len(codes), spread(codes, func(c string) int64 { return st.Subsets[c] })}
		t.AppendRow(append(row, st.quality(codes...)...))
	})
	return t
}

// quality returns the inertia of subsets and the mean silhouette of their images, as cells of a table.
func (st *Status) quality(codes ...string) table.Row {
	var inertia, silhouettes float64
	var images int64
	for _, code := range codes {
		if q, known := st.Quality[code]; known {
			inertia, silhouettes = inertia+q.Inertia, silhouettes+q.Silhouette*float64(st.Subsets[code])
			images += st.Subsets[code]
		}
	}
	if images == 0 {
		return table.Row{"-", "-"}
	}
	return table.Row{fmt.Sprintf("%.1f", inertia), fmt.Sprintf("%.2f", silhouettes/float64(images))}
}

func (st *Status) netTable(each bool) table.Writer {
	figure := func(v float64) string {
		if v == 0 {
			return "-"
		}
		return fmt.Sprintf("%.4f", v)
	}
	if each {
		t := newTable("net", "variant", "steps", "images in subset", "loss", "embedding std", "file")
		for _, m := range st.Nets {
			t.AppendRow(table.Row{m.Name, m.Variant, steps(m), humanize.Comma(m.SubsetImages), figure(m.Loss), figure(m.Std), m.File})
		}
		return t
	}
	t := newTable("nets", "number", "steps (least, median, most)", "without a step", "images in subset (least, median, most)")
	var subnets []Net
	for _, m := range st.Nets {
		if m.Level > 0 {
			subnets = append(subnets, m)
			continue
		}
		t.AppendRow(table.Row{m.Name, 1, humanize.Comma(m.Steps), "", humanize.Comma(m.SubsetImages)})
	}
	byLevel(subnets, func(m Net) int64 { return m.Level }, func(level int64, nets []Net) {
		idle := 0
		for _, m := range nets {
			if m.Steps == 0 {
				idle++
			}
		}
		t.AppendRow(table.Row{
			fmt.Sprintf("level %d", level), len(nets), spread(nets, func(m Net) int64 { return m.Steps }), idle,
			spread(nets, func(m Net) int64 { return m.SubsetImages }),
		})
	})
	return t
}

// heldOutTable lists how sub-nets compare with the root: each, or only those that the router is not offered.
func (st *Status) heldOutTable(each bool) table.Writer {
	t := newTable("net", "held-out images", "loss", "root's loss", "standard error of the difference", "offered to the router")
	for _, j := range st.HeldOut {
		offered := "yes"
		if !j.Offered {
			offered = "no"
		}
		switch {
		case !each && j.Offered:
		case j.Images == 0:
			t.AppendRow(table.Row{j.Subnet, "too few", "-", "-", "-", offered})
		default:
			figure := func(v float64) string { return fmt.Sprintf("%.4f", v) }
			t.AppendRow(table.Row{j.Subnet, humanize.Comma(j.Images), figure(j.Loss), figure(j.RootLoss), figure(j.Error), offered})
		}
	}
	return t
}

// steps describes the number of steps of a net.
func steps(m Net) string {
	if m.Steps == 0 && m.Level > 0 {
		return "0 (as its parent)"
	}
	return humanize.Comma(m.Steps)
}

// byLevel calls visit with the items of each level.
func byLevel[T any](items []T, level func(T) int64, visit func(level int64, items []T)) {
	groups := map[int64][]T{}
	for _, item := range items {
		groups[level(item)] = append(groups[level(item)], item)
	}
	for _, l := range slices.Sorted(maps.Keys(groups)) {
		visit(l, groups[l])
	}
}

// spread returns the least, the median and the largest figure of some items.
func spread[T any](items []T, figure func(T) int64) string {
	sorted := slices.SortedFunc(slices.Values(items), func(a, b T) int { return cmp.Compare(figure(a), figure(b)) })
	at := func(i int) string { return humanize.Comma(figure(sorted[i])) }
	return fmt.Sprintf("%s, %s, %s", at(0), at(len(sorted)/2), at(len(sorted)-1))
}

func newTable(header ...any) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(header)
	return t
}
