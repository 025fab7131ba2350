package evaluate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Protocol is a way to measure how well a net suits a task: its frozen features, or what it becomes by fine-tuning.
type Protocol struct {
	// Name is the protocol's name, and Summary describes it in a few words.
	Name, Summary string
	// Scorer is the scorer by which the router chooses a net for the protocol.
	Scorer string
	// Episodic protocols measure small problems that are drawn from the task. Others predict the class of every test image.
	Episodic bool
	// OneClass protocols are for images with one class each: they leave out tasks whose metric is tasks.MeanAP.
	OneClass bool

	// measure returns a Row for each of sets, pairs of the features of a task's training and test images as embedFn makes
	// them. It has the predictions or, if the protocol is Episodic, the accuracies of the episodes. Of a protocol without it, train does the same for
	// batches of route.Pair.
	measure func(s beam.Scope, sets beam.PCollection) beam.PCollection
	train   func(s beam.Scope, pairs beam.PCollection) beam.PCollection
}

// known are all protocols.
var known = []Protocol{knn20, knn200, linear, linear45, linear1, linear10, fewShot1, fewShot5, fewShot10, fineTuned}

// Protocols lists the names of the protocols.
func Protocols() (names []string) {
	for _, p := range known {
		names = append(names, p.Name)
	}
	return names
}

// Predicting lists the names of those that predict the class of every test image.
func Predicting() []string {
	return slices.DeleteFunc(Protocols(), func(name string) bool {
		p, _ := named(name)
		return p.Episodic
	})
}

// inOrder compares the names of protocols by their order in Protocols.
func inOrder(a, b string) int {
	all := Protocols()
	return slices.Index(all, a) - slices.Index(all, b)
}

// Help lists the protocols with their summaries, one per line.
func Help() string {
	var b strings.Builder
	for _, p := range known {
		b.WriteString("  " + p.Name + strings.Repeat(" ", 12-len(p.Name)) + p.Summary + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// named returns the protocol of a name.
func named(name string) (Protocol, bool) {
	at := slices.IndexFunc(known, func(p Protocol) bool { return p.Name == name })
	if at < 0 {
		return Protocol{}, false
	}
	return known[at], true
}

// CheckProtocols returns an error if a protocol is unknown or there is none.
func CheckProtocols(protocols []string) error {
	if len(protocols) == 0 {
		return run.Usagef("no protocol given; want one or more of %s", strings.Join(Protocols(), ","))
	}
	for _, p := range protocols {
		if _, ok := named(p); !ok {
			return run.Usagef("there is no protocol %q; want one or more of %s", p, strings.Join(Protocols(), ","))
		}
	}
	return nil
}

// CheckPredicting is CheckProtocols, and also refuses protocols that do not predict the class of every test image.
func CheckPredicting(protocols []string) error {
	if err := CheckProtocols(protocols); err != nil {
		return err
	}
	for _, name := range protocols {
		if p, _ := named(name); p.Episodic {
			return run.Usagef("the protocol %s measures episodes and does not predict the class of every test image, as is needed here; use sdr evaluate", name)
		}
	}
	return nil
}

// Unsuited returns the tasks that protocols leave out, one entry for each of these.
func Unsuited(all []tasks.Task, protocols []string) (dead []Dead) {
	for _, t := range all {
		for _, name := range protocols {
			if p, _ := named(name); p.OneClass && t.Metric == tasks.MeanAP {
				dead = append(dead, Dead{t.Name, fmt.Sprintf("the protocol %s is for images with one class each, and the metric %s for images with several", name, t.Metric)})
			}
		}
	}
	return dead
}

// Scorer returns the scorer by which the router chooses a net for a protocol.
func Scorer(protocol string) string {
	p, _ := named(protocol)
	return p.Scorer
}

// Scorers returns the scorers of protocols, each once, in their order.
func Scorers(protocols []string) (scorers []string) {
	for _, p := range protocols {
		if s := Scorer(p); !slices.Contains(scorers, s) {
			scorers = append(scorers, s)
		}
	}
	return scorers
}

// classifier returns a protocol that predicts the class of every test image: classify adds the column predicted to the
// test images of sets, pairs of training and test images.
func classifier(name, scorer, summary string, classify func(s beam.Scope, sets beam.PCollection) beam.PCollection) Protocol {
	return Protocol{Name: name, Scorer: scorer, Summary: summary, measure: func(s beam.Scope, sets beam.PCollection) beam.PCollection {
		return beam.ParDo(s, &measureFn{Protocol: name}, classify(s, sets))
	}}
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[fractionFn]())
	beam.RegisterDoFn(reflect.TypeFor[fewShotFn]())
	beam.RegisterDoFn(reflect.TypeFor[apartFn]())
	beam.RegisterDoFn(reflect.TypeFor[fineTuneFn]())
}
