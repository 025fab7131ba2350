package detect

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/annotations"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Row is the schema of Measure's output: COCO's figures of one detector, in percent; NaN where the split has no object
// that counts.
type Row struct {
	// Net and Seed are those of the detector.
	Net  string `arrow:"net"`
	Seed int64  `arrow:"seed"`
	// Class is the class, or empty for the means over all classes.
	Class string `arrow:"class"`
	// Objects is the number of objects that count, and Images that of the images, which are those of the split but for LeftOut.
	Objects int64 `arrow:"objects"`
	Images  int64 `arrow:"images"`
	// LeftOut is the number of images of the split that are left out, since they or their annotations are broken.
	LeftOut int64 `arrow:"left_out"`
	// The figures are those of metrics.BoxSummary.
	AP       float64 `arrow:"ap"`
	AP50     float64 `arrow:"ap50"`
	AP75     float64 `arrow:"ap75"`
	APSmall  float64 `arrow:"ap_small"`
	APMedium float64 `arrow:"ap_medium"`
	APLarge  float64 `arrow:"ap_large"`
	AR1      float64 `arrow:"ar1"`
	AR10     float64 `arrow:"ar10"`
	AR       float64 `arrow:"ar"`
	// Low and High are the ends of the 95 % interval of the mean AP over the seeds of the net, in its rows of all classes.
	// Difference is that mean less that of the first net, with its interval from DifferenceLow to DifferenceHigh.
	Low            float64 `arrow:"low"`
	High           float64 `arrow:"high"`
	Difference     float64 `arrow:"difference"`
	DifferenceLow  float64 `arrow:"difference_low"`
	DifferenceHigh float64 `arrow:"difference_high"`
}

// Measure compares what detectors found with what is annotated. The intervals are over test images and seeds, see
// metrics.ResampleBoxes.
//
// in: *record.Batch of Detector in any order, what Predict returned for them, and *record.Batch of annotations.Row, all as
// side inputs. nets are the names of the nets; the first is the one to compare with. out: one *record.Batch of Row.
func Measure(s beam.Scope, detectors, detections, dead, objects beam.PCollection, nets []string) beam.PCollection {
	s = s.Scope("detect.Measure")
	return beam.ParDo(s, &measureFn{nets}, beam.Impulse(s), beam.SideInput{Input: detectors},
		beam.SideInput{Input: detections}, beam.SideInput{Input: dead}, beam.SideInput{Input: objects})
}

type measureFn struct{ Nets []string }

func (fn *measureFn) ProcessElement(_ []byte, detectors, detections, dead, objects func(**record.Batch) bool) (*record.Batch, error) {
	all, err := record.All[Detector](detectors)
	if err != nil {
		return nil, err
	}
	found, err := record.All[Detection](detections)
	if err != nil {
		return nil, err
	}
	letters, err := record.All[imageio.Dead](dead)
	if err != nil {
		return nil, err
	}
	annotated, err := record.All[annotations.Row](objects)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Detector) int {
		return cmp.Or(cmp.Compare(slices.Index(fn.Nets, a.Net), slices.Index(fn.Nets, b.Net)), cmp.Compare(a.Seed, b.Seed))
	})
	return record.Of(measure(all, found, newTruth(annotated, letters))), nil
}

// truth is what is annotated.
type truth struct {
	images  map[int64]int // of the split to those that are not left out
	leftOut int64
	classes []string
	objects []metrics.Object
}

// newTruth collects the rows of a split, which may come in any order of its images, without those of dead letters.
func newTruth(rows []annotations.Row, dead []imageio.Dead) truth {
	t, out := truth{images: map[int64]int{}}, map[int64]bool{}
	for _, d := range dead {
		out[d.Index] = true
	}
	t.leftOut = int64(len(out))
	rows = slices.DeleteFunc(rows, func(r annotations.Row) bool { return out[r.Image] })
	slices.SortStableFunc(rows, func(a, b annotations.Row) int { return cmp.Compare(a.Image, b.Image) })
	for _, r := range rows {
		if _, known := t.images[r.Image]; !known {
			t.images[r.Image] = len(t.images)
		}
		if r.Class >= 0 && !slices.Contains(t.classes, r.Name) {
			t.classes = append(t.classes, r.Name)
		}
	}
	slices.Sort(t.classes)
	for _, r := range rows {
		if r.Class >= 0 {
			t.objects = append(t.objects, metrics.Object{
				Image: t.images[r.Image], Class: slices.Index(t.classes, r.Name), Area: r.Area, Crowd: r.Crowd, Difficult: r.Difficult,
				Box: metrics.Box{r.Left, r.Top, r.Width, r.Height},
			})
		}
	}
	return t
}

// matches compares the detections of one detector with the truth. Those of a class that is not annotated do not count.
func (t truth) matches(found []Detection) *metrics.Matches {
	var all []metrics.Detection
	for _, f := range found {
		image, known := t.images[f.Image]
		if class := slices.Index(t.classes, f.Class); class >= 0 && known {
			all = append(all, metrics.Detection{Image: image, Class: class, Box: f.box(), Score: f.Score})
		}
	}
	return metrics.NewMatches(t.objects, all, len(t.images), len(t.classes))
}

// count returns the number of objects of a class that count; of all for -1.
func (t truth) count(class int) (n int64) {
	for _, o := range t.objects {
		if !o.Crowd && !o.Difficult && (class < 0 || o.Class == class) {
			n++
		}
	}
	return n
}

// measure returns the figures of detectors, which are sorted by net. found holds the detections of all of them.
func measure(detectors []Detector, found []Detection, t truth) (rows []Row) {
	byNet := map[string][]*metrics.Matches{}
	var nets []string
	for _, d := range detectors {
		own := slices.DeleteFunc(slices.Clone(found), func(f Detection) bool { return f.Net != d.Net || f.Seed != d.Seed })
		m := t.matches(own)
		if len(byNet[d.Net]) == 0 {
			nets = append(nets, d.Net)
		}
		byNet[d.Net] = append(byNet[d.Net], m)
		row := func(class int, name string, s metrics.BoxSummary) {
			nan := math.NaN()
			rows = append(rows, Row{
				Net: d.Net, Seed: d.Seed, Class: name, Objects: t.count(class), Images: int64(len(t.images)), LeftOut: t.leftOut,
				AP: 100 * s.AP, AP50: 100 * s.AP50, AP75: 100 * s.AP75, APSmall: 100 * s.APSmall, APMedium: 100 * s.APMedium, APLarge: 100 * s.APLarge,
				AR1: 100 * s.AR1, AR10: 100 * s.AR10, AR: 100 * s.AR, Low: nan, High: nan, Difference: nan, DifferenceLow: nan, DifferenceHigh: nan,
			})
		}
		row(-1, "", m.Summary())
		for c, name := range t.classes {
			row(c, name, m.ClassSummary(c))
		}
	}
	if len(nets) == 0 {
		return rows
	}
	first := byNet[nets[0]]
	reference := metrics.ResampleBoxes(first)
	for _, net := range nets {
		sample := metrics.ResampleBoxes(byNet[net])
		own := sample.Interval()
		for i := range rows {
			r := &rows[i]
			if r.Net != net || r.Class != "" {
				continue
			}
			r.Low, r.High = 100*own.Low, 100*own.High
			if net != nets[0] && len(byNet[net]) == len(first) {
				d := sample.Minus(reference).Interval()
				r.Difference, r.DifferenceLow, r.DifferenceHigh = 100*d.Mean, 100*d.Low, 100*d.High
			}
		}
	}
	return rows
}

// Validate returns an error if the seeds of the nets are not the same, so that they cannot be compared.
func Validate(detectors []Detector) error {
	seeds := map[string][]int64{}
	for _, d := range detectors {
		seeds[d.Net] = append(seeds[d.Net], d.Seed)
	}
	for _, d := range detectors {
		if first := detectors[0].Net; !slices.Equal(slices.Sorted(slices.Values(seeds[d.Net])), slices.Sorted(slices.Values(seeds[first]))) {
			return fmt.Errorf("%s has the seeds %v and %s has %v; train the missing ones", first, seeds[first], d.Net, seeds[d.Net])
		}
	}
	return nil
}
