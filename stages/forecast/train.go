package forecast

import (
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/kmeans"
)

// train is a training of some variants, in rounds or not.
func (s *simulation) train(st Stage, of *StagePlan) error {
	for _, v := range st.Variants {
		size, err := s.checkpoint(v, s.splits(v))
		if err != nil {
			return err
		}
		of.Memory = max(of.Memory, s.p.Memory+2*size.all()) // with the checkpoint that is read or written
		if len(st.Rounds) > 0 {
			of.Memory = max(of.Memory, s.p.Resident+(2+combined)*size.all()) // that of a commit
		}
		of.Stored += size.all()
		for phase := range s.levels() + 1 {
			of.Stored += s.nets(v, phase) * s.params
		}
	}
	if len(st.Rounds) == 0 {
		return s.whole(st, of)
	}
	return s.rounds(st, of)
}

// whole is a training of variants that each have a worker.
func (s *simulation) whole(st Stage, of *StagePlan) error {
	work := make([]float64, s.c.Workers)
	for i, v := range st.Variants {
		size, err := s.checkpoint(v, s.splits(v))
		if err != nil {
			return err
		}
		from, to := s.steps(v)
		seconds := float64(to-from) * s.step(v)
		if every := s.r.Train.CheckpointSeconds; every > 0 {
			seconds += float64(int(seconds/every)) * s.scaled(s.p.CheckpointSave, size)
		}
		seconds += s.p.Open + s.scaled(s.p.CheckpointLoad+s.p.CheckpointSave, size)
		for phase := range s.levels() + 1 {
			if end := s.r.PhaseStep(phase + 1); end > from && end <= to || v == recipe.Random {
				seconds += s.finishing(v, phase)
			}
		}
		work[i%len(work)] += seconds
	}
	of.Seconds += s.end(work)
	return nil
}

// rounds is a training in rounds. In each, every variant's bins are dealt to the workers, and then its checkpoint is
// committed on one of them, which also makes the finished nets at the end of a phase.
func (s *simulation) rounds(st Stage, of *StagePlan) error {
	bins, workers := s.r.Train.Rounds.Bins, s.c.Workers
	work, commit, finish := make([]float64, workers), make([]float64, workers), make([]float64, workers)
	for _, steps := range st.Rounds {
		moved := int64(0)
		for i, v := range st.Variants {
			splits := 0
			if s.divides(v) {
				splits = steps.Phase
				if steps.From < s.r.SplitStep(steps.Phase) {
					splits--
				}
			}
			size, err := s.checkpoint(v, splits)
			if err != nil {
				return err
			}
			for b := range bins {
				taken := max(0, steps.To-steps.From-b+bins-1) / bins
				work[(i*bins+b)%workers] += s.p.Open + s.scaled(s.p.CheckpointLoad, size) + float64(taken)*s.step(v)
			}
			parts, sums := int64(bins)*size.shared, combined*int64(min(bins, workers))*size.shared
			moved += parts + sums + size.all()
			commit[i%workers] += float64(size.all())/s.p.Shuffle + s.scaled(s.p.CheckpointLoad+s.p.CheckpointSave, size)
			if steps.EndsPhase {
				finish[i%workers] += s.p.Open + s.scaled(s.p.CheckpointLoad, size) + s.finishing(v, steps.Phase)
			}
		}
		seconds := s.p.Round + s.end(work) + float64(moved)/s.p.Shuffle/float64(workers) + s.end(commit)
		of.Shuffled += moved
		of.Seconds += seconds + s.end(finish)
		s.plan.Rounds++
		s.plan.RoundSeconds += seconds
		s.plan.RoundSecondsMost = max(s.plan.RoundSecondsMost, seconds)
	}
	return nil
}

// levels returns the number of splits.
func (s *simulation) levels() int {
	_, branching := s.r.Levels()
	return len(branching)
}

// divides reports whether a variant is divided among sub-nets.
func (s *simulation) divides(variant string) bool { return variant == train.SDR && s.r.Splits() }

// splits returns the number of splits of a variant at its end.
func (s *simulation) splits(variant string) int {
	if s.divides(variant) {
		return s.levels()
	}
	return 0
}

// steps returns the steps of a variant that is trained on one worker.
func (s *simulation) steps(variant string) (from, to int) {
	switch variant {
	case recipe.Random:
		return 0, 0
	case train.Phase0:
		return 0, s.r.PhaseStep(1)
	case train.Joint:
		return s.r.PhaseStep(1), s.r.Joint()
	case recipe.Unified:
		return s.r.PhaseStep(1), s.r.Steps()
	}
	return s.r.Joint(), s.r.Steps()
}

// step returns the time of a step: to compute it, or to read its images if that takes longer.
func (s *simulation) step(variant string) float64 {
	seconds := s.p.Step
	if s.divides(variant) {
		seconds = s.p.SubnetStep
	}
	return max(seconds, float64(int64(s.r.Train.Batch)*s.pixels)/s.p.Read)
}

// nets returns the number of nets that a variant has finished at the end of a phase.
func (s *simulation) nets(variant string, phase int) int64 {
	last := phase == s.levels()
	switch {
	case s.divides(variant) && phase > 0:
		_, branching := s.r.Levels()
		nets := int64(len(s.r.Train.Norm) * kmeans.Leaves(branching[:phase]))
		if last {
			nets++ // the root
		}
		return nets
	case variant == train.Phase0 && phase == 0,
		last && variant != train.Phase0 && variant != train.Joint:
		return 1
	}
	return 0
}

// finishing returns the time to make the nets that a variant has finished at the end of a phase.
func (s *simulation) finishing(variant string, phase int) float64 {
	images := min(int64(s.r.Train.NormImages), s.c.Images)
	return float64(s.nets(variant, phase)) * (float64(images)*s.p.Norm + float64(s.params)/s.p.Write)
}

// size is that of a checkpoint in bytes.
type size struct{ shared, own int64 }

func (s size) all() int64 { return s.shared + s.own }

// checkpoint returns the size of a variant's checkpoint after some splits.
func (s *simulation) checkpoint(variant string, splits int) (size, error) {
	key := level{variant, splits}
	if known, ok := s.sizes[key]; ok {
		return known, nil
	}
	shared, own, err := train.Bytes(s.r, variant, splits)
	s.sizes[key] = size{shared, own}
	return size{shared, own}, err
}

// scaled returns the time for a checkpoint of some size, given that of the measured one.
func (s *simulation) scaled(seconds float64, of size) float64 {
	return seconds * float64(of.all()) / float64(s.p.CheckpointBytes)
}
