package pipelines

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"io"
	"maps"
	"math/bits"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/corona10/goimagehash"
	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/jedib0t/go-pretty/v6/table"
	"golang.org/x/sync/errgroup"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// DataReport is what ExamineData finds.
type DataReport struct {
	// Sources describes in one line each what was read of a path, and what was passed over.
	Sources []string `json:"sources"`
	// Images is the number of images, Unreadable of them cannot be read, and Damaged were read as far as they go.
	Images     int64 `json:"images"`
	Unreadable int64 `json:"unreadable"`
	Damaged    int64 `json:"damaged"`
	// Reasons says why images cannot be read, of some.
	Reasons []string `json:"reasons"`
	// Bytes is the size of all images that can be read, as they are encoded.
	Bytes int64 `json:"bytes"`
	// Formats counts them by format.
	Formats map[string]int64 `json:"formats"`
	// Sides are the least, the median and the greatest of the images' shorter sides in pixels.
	Sides [3]int `json:"sides"`
	// Elongated counts those more than twice as long as wide or the other way around: cropping to a square loses half.
	Elongated int64 `json:"elongated"`
	// Gray counts those whose pixels are all gray, Flat those of one color, and Clipped those that are mostly gray of more than
	// 8 bits above 255, which is clipped to white.
	Gray    int64 `json:"gray"`
	Flat    int64 `json:"flat"`
	Clipped int64 `json:"clipped"`
	// Similar are the groups of images that look alike, the largest first. Each lists its images in order.
	Similar [][]string `json:"similar"`
}

// looked is what is remembered of an image.
type looked struct {
	index  int64
	name   string
	reason string // why it cannot be read, or empty
	format string
	damage bool
	bytes  int
	width  int
	height int
	gray   bool
	flat   bool
	clip   bool
	hash   uint64
}

const (
	alike       = 3  // bits in which perceptual hashes of images that look alike may differ
	hashedSize  = 64 // pixels of the image that is hashed
	mostReasons = 5
)

// ExamineData reads all images at some paths and reports how many there are, of which formats and sizes, and which of them
// should not be trained on: those that cannot be read, are of one color, or look like another one.
func ExamineData(ctx context.Context, paths []string, columns imageio.Columns) (*DataReport, error) {
	splits, sources, err := imageio.Survey(ctx, paths, splitImages, columns)
	if err != nil {
		return nil, run.Usage(err)
	}
	warnTwice(paths)
	var mu sync.Mutex
	var all []looked
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, split := range splits {
		g.Go(func() error {
			var own []looked
			err := imageio.ReadSplit(ctx, split, func(im imageio.Image) error {
				l, err := look(im)
				l.index = split.Index<<32 + int64(len(own))
				own = append(own, l)
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b looked) int { return cmp.Compare(a.index, b.index) })
	r := sumUp(all)
	for _, s := range sources {
		n := 0
		for _, l := range all {
			if s.Has(imageio.SplitOf(l.index)) {
				n++
			}
		}
		text := fmt.Sprintf("%s: %s", s.Path, english.Plural(n, "image", ""))
		if len(s.Passed) > 0 {
			text += "; " + s.Passed.String()
		}
		r.Sources = append(r.Sources, text)
	}
	return r, nil
}

// look decodes an image.
func look(im imageio.Image) (looked, error) {
	l := looked{name: im.Source, reason: im.Damage, bytes: len(im.Data)}
	if im.Row > 0 {
		l.name = fmt.Sprintf("%s, row %d", im.Source, im.Row)
	}
	if l.reason != "" {
		return l, nil
	}
	rgb, err := imageio.Decode(im.Data)
	if err != nil {
		l.reason = err.Error()
		return l, nil
	}
	l.format, l.damage, l.width, l.height = imageio.Format(im.Data), rgb.Damage != nil, rgb.Width, rgb.Height
	l.clip = rgb.Clipped
	l.gray, l.flat = true, true
	for p := 0; p < len(rgb.Pix) && (l.gray || l.flat); p += 3 {
		red, green, blue := rgb.Pix[p], rgb.Pix[p+1], rgb.Pix[p+2]
		l.gray = l.gray && red == green && green == blue
		l.flat = l.flat && red == rgb.Pix[0] && green == rgb.Pix[1] && blue == rgb.Pix[2]
	}
	small := rgb.Resize(hashedSize, hashedSize)
	picture := image.NewNRGBA(image.Rect(0, 0, hashedSize, hashedSize))
	for i := range hashedSize * hashedSize {
		copy(picture.Pix[4*i:], small.Pix[3*i:3*i+3])
		picture.Pix[4*i+3] = 255
	}
	hash, err := goimagehash.PerceptionHash(picture)
	if err != nil {
		return l, err
	}
	l.hash = hash.GetHash()
	return l, nil
}

// sumUp sums up what was seen of the images, which are in order.
func sumUp(all []looked) *DataReport {
	r := &DataReport{Images: int64(len(all)), Formats: map[string]int64{}}
	var sides []int
	var textured []looked // which a hash can tell apart
	for _, l := range all {
		if l.reason != "" {
			if r.Unreadable++; len(r.Reasons) < mostReasons {
				r.Reasons = append(r.Reasons, l.name+": "+l.reason)
			}
			continue
		}
		count := func(n *int64, is bool) {
			if is {
				*n++
			}
		}
		r.Formats[l.format]++
		r.Bytes += int64(l.bytes)
		count(&r.Damaged, l.damage)
		count(&r.Elongated, max(l.width, l.height) > 2*min(l.width, l.height))
		count(&r.Gray, l.gray)
		count(&r.Flat, l.flat)
		count(&r.Clipped, l.clip)
		sides = append(sides, min(l.width, l.height))
		if !l.flat {
			textured = append(textured, l)
		}
	}
	if len(sides) > 0 {
		slices.Sort(sides)
		r.Sides = [3]int{sides[0], sides[len(sides)/2], sides[len(sides)-1]}
	}
	for _, group := range similar(textured) {
		var names []string
		for _, l := range group {
			names = append(names, l.name)
		}
		r.Similar = append(r.Similar, names)
	}
	return r
}

// similar returns the groups of several images whose hashes differ in at most so many bits, directly or through others.
func similar(all []looked) [][]looked {
	group := make([]int, len(all)) // the first image of the group, directly or through others
	root := func(i int) int {
		for group[i] != i {
			group[i] = group[group[i]]
			i = group[i]
		}
		return i
	}
	join := func(i, j int) {
		i, j = root(i), root(j)
		group[max(i, j)] = min(i, j)
	}
	// Hashes that differ in fewer bits than there are parts are equal in one part at least.
	const part = 64 / (alike + 1)
	first := map[uint64]int{} // the first image of each hash
	var buckets [alike + 1]map[uint64][]int
	for p := range buckets {
		buckets[p] = map[uint64][]int{}
	}
	for i, l := range all {
		group[i] = i
		if same, seen := first[l.hash]; seen {
			join(i, same)
			continue
		}
		first[l.hash] = i
		for p := range buckets {
			key := l.hash >> (part * p) & (1<<part - 1)
			for _, j := range buckets[p][key] {
				if bits.OnesCount64(l.hash^all[j].hash) <= alike {
					join(i, j)
				}
			}
			buckets[p][key] = append(buckets[p][key], i)
		}
	}
	members := map[int][]looked{}
	for i, l := range all {
		members[root(i)] = append(members[root(i)], l)
	}
	var groups [][]looked
	for _, i := range slices.Sorted(maps.Keys(members)) {
		if len(members[i]) > 1 {
			groups = append(groups, members[i])
		}
	}
	slices.SortStableFunc(groups, func(a, b []looked) int { return cmp.Compare(len(b), len(a)) })
	return groups
}

// WriteJSON writes the report as JSON.
func (r *DataReport) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteTable writes the report as a table, with a few examples.
func (r *DataReport) WriteTable(w io.Writer) error {
	t := newTable("images", "number", "share", "")
	add := func(what string, n int64, note string) {
		t.AppendRow(table.Row{what, n, fmt.Sprintf("%.2f %%", 100*float64(n)/float64(max(1, r.Images))), note})
	}
	add("all", r.Images, humanize.Bytes(uint64(r.Bytes)))
	for _, f := range slices.SortedFunc(maps.Keys(r.Formats), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.Formats[b], r.Formats[a]), strings.Compare(a, b))
	}) {
		add(f, r.Formats[f], "")
	}
	add("unreadable", r.Unreadable, "go to the dead letters; --max-bad limits their share")
	add("damaged", r.Damaged, "are read as far as they go")
	add("of one color", r.Flat, "teach nothing")
	add("clipped", r.Clipped, "mostly gray above 255, which becomes white; scale it to 8 bits")
	add("gray", r.Gray, "")
	add("elongated", r.Elongated, "more than 2:1; a square crop loses half or more")
	extra := int64(0)
	for _, group := range r.Similar {
		extra += int64(len(group) - 1)
	}
	add("near-duplicates", extra, fmt.Sprintf("beyond the first of %d groups that look alike", len(r.Similar)))
	text := t.Render()
	text += fmt.Sprintf("\nshorter sides: %d to %d px, median %d px\n", r.Sides[0], r.Sides[2], r.Sides[1])
	for _, s := range r.Sources {
		text += s + "\n"
	}
	for _, reason := range r.Reasons {
		text += "unreadable: " + reason + "\n"
	}
	const groups, names = 3, 4
	for _, group := range r.Similar[:min(groups, len(r.Similar))] {
		text += fmt.Sprintf("%d look alike: %s", len(group), strings.Join(group[:min(names, len(group))], "; "))
		if len(group) > names {
			text += "; ..."
		}
		text += "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
