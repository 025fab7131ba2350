package cuda

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// learner is ssl.Learner on a GPU. The weights of all sub-nets stay on the GPU. Each step runs on a track: that of a step which
// it depends on, so that the GPU goes on from one to the other, or else one of its own, as memory allows. The gradients of
// sub-nets that have no individual weights in common are computed at the same time between two updates of the shared ones, and
// used in the order of the steps, so that the result is as if one step came after the other.
type learner struct {
	d   *device
	cfg ssl.Config

	tracks  []*track
	pinned  unsafe.Pointer // host memory for the entries
	entries []entry        // in turns: of the steps ahead, and one whose input is being written
	next    int            // index of that one
	ahead   []*entry       // of the steps that were not waited for
	most    int            // number of tracks for which there is memory, as far as it is known

	part           *partition
	chunks         Buffer
	nets, teachers *store
	sums           Buffer // of the gradients of steps that deferred; zero if unused
	deferred       int    // number of these steps
}

// entry is a step from when its input is written until it is waited for.
type entry struct {
	ssl.Step
	input       []byte    // pinned, as the next two: the views as float32, or the sources of views
	nets        *[2]step  // which sub-net is trained, and its teacher
	measures    []float32 // see track.measures
	begun, done event
	previous    *entry      // of the step before
	track       *track      // on which it runs; nil once it has ended
	measure     ssl.Measure // then
}

func newLearner(d *device, c ssl.Config) (*learner, error) {
	l := &learner{d: d, cfg: c, entries: make([]entry, max(1, c.Ahead)+1), most: max(1, c.Ahead)}
	t, err := newTrack(l, d, newFlat(nn.NewLayout(c.Backbone, c.Heads)))
	if err != nil {
		return nil, err
	}
	l.tracks = append(l.tracks, t)
	if c.Defers {
		l.sums = d.floats(len(t.net.flat.order))
	}
	const align, nets = 16, int(unsafe.Sizeof([2]step{}))
	measures := ceil(nets+t.input.Len, align) * align // offset
	room := ceil(measures+4*t.measures.Len, align) * align
	if l.pinned, err = d.pin(len(l.entries) * room); err != nil {
		t.close()
		return nil, err
	}
	for i := range l.entries {
		e, at := &l.entries[i], unsafe.Add(l.pinned, i*room)
		e.nets = (*[2]step)(at)
		*e.nets = [2]step{}
		e.input = unsafe.Slice((*byte)(unsafe.Add(at, nets)), t.input.Len)
		e.measures = unsafe.Slice((*float32)(unsafe.Add(at, measures)), t.measures.Len)
		d.try(d.cuEventCreate(&e.begun, 0), "cuEventCreate")
		d.try(d.cuEventCreate(&e.done, 0), "cuEventCreate")
	}
	return l, t.outOfMemory(d.err)
}

// serial reports whether each step depends on the one before: the weights that all read, a target network or a teacher move
// with it.
func (l *learner) serial() bool {
	return !l.cfg.Defers || l.cfg.Loss.Target != nil || l.teachers != nil && l.cfg.Teacher != nil
}

// Views implements ssl.Learner.
func (l *learner) Views() []float32 {
	if l.tracks[0].views != nil {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&l.entries[l.next].input[0])), l.tracks[0].images.Len)
}

// Sources implements ssl.Learner.
func (l *learner) Sources() (s ssl.Sources, ok bool) {
	if l.tracks[0].views == nil {
		return s, false
	}
	return l.tracks[0].views.in(l.entries[l.next].input), true
}

// Load implements ssl.Learner.
func (l *learner) Load(nets, teachers *sdrnet.Net) error {
	leave, err := l.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	if err := l.finishAll(); err != nil {
		return err
	}
	first := l.tracks[0]
	if l.part == nil {
		l.part = newPartition(nets)
		n := len(l.part.chunks)
		l.chunks = l.d.bytes(n * int(unsafe.Sizeof(chunk{})))
		l.d.upload(l.chunks, unsafe.Pointer(&l.part.chunks[0]), l.chunks.Len)
		if err := l.d.wait(); err != nil {
			return err
		}
	}
	if l.teachers != nil != (teachers != nil) {
		first.dropGraphs() // the step changes
	}
	if err := l.closeOthers(); err != nil { // makes room for the nets
		return err
	}
	l.most = len(l.entries) - 1
	for _, s := range []*store{l.nets, l.teachers} {
		if s != nil {
			s.free()
		}
	}
	l.nets, l.teachers = nil, nil
	if l.nets, err = newStore(l.d, nets, l.part, true); err != nil {
		return first.outOfMemory(err)
	}
	if teachers != nil {
		if l.teachers, err = newStore(l.d, teachers, l.part, false); err != nil {
			return first.outOfMemory(err)
		}
	}
	first.load()
	return first.outOfMemory(l.d.err)
}

// Submit implements ssl.Learner.
func (l *learner) Submit(s ssl.Step) error {
	leave, err := l.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	if len(l.ahead) == len(l.entries)-1 {
		return fmt.Errorf("cuda: step %d is submitted while %d were not waited for", s.Number, len(l.ahead))
	}
	t, err := l.trackFor(s)
	if err != nil {
		return err
	}
	e := &l.entries[l.next]
	e.Step, e.track, e.previous = s, t, &l.entries[(l.next+len(l.entries)-1)%len(l.entries)]
	l.next = (l.next + 1) % len(l.entries)
	l.prepare(e)
	for _, o := range l.ahead {
		if o.track != nil && o.track != t && l.dependent(s, o) {
			t.await(o.done)
		}
	}
	t.d.try(t.d.cuEventRecord(e.begun, t.d.stream), "cuEventRecord")
	var before event
	if e.previous.track != nil && e.previous.track != t {
		before = e.previous.done
	}
	t.run(e, before)
	t.d.try(t.d.cuEventRecord(e.done, t.d.stream), "cuEventRecord")
	l.ahead = append(l.ahead, e)
	return l.d.err
}

// collide reports whether two sub-nets have individual weights in common, so that a step of one changes the other.
func collide(a, b string) bool {
	if a == "" || b == "" {
		return a == b // the root's own, or none
	}
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if x == y {
			return true
		}
	}
	return false
}

// prepare fills in which nets a step trains and learns from, and how.
func (l *learner) prepare(e *entry) {
	s, student, teacher := e.Step, &e.nets[0], &e.nets[1]
	l.nets.point(student, s.Code)
	l.deferred++
	student.Steps, student.Defer = int32(l.deferred), 0
	if s.Defer {
		student.Defer = 1
	} else {
		l.deferred = 0
	}
	base, groups := l.cfg.Rates(s)
	l.tracks[0].optimizer.fill(student, base, groups, s.Number)
	if target := l.cfg.Loss.Target; target != nil {
		student.Momentum = float32(target.Momentum(s.Number, s.Of))
	}
	if l.teachers != nil {
		l.teachers.point(teacher, l.cfg.TeacherOf(s.Code))
		if l.cfg.Teacher != nil {
			teacher.Momentum = l.cfg.TeacherMomentum(s)
		}
	}
}

// dependent reports whether a step needs what one before it changes.
func (l *learner) dependent(s ssl.Step, before *entry) bool {
	return l.serial() || !before.Defer || collide(before.Code, s.Code)
}

// trackFor returns the track for a step: one whose last step it has to wait for anyway, one on which nothing runs, a new one if
// there is memory for it, or the one that is idle first.
func (l *learner) trackFor(s ssl.Step) (*track, error) {
	var running []*track // by their last steps, of which the latest comes first
	for i := len(l.ahead) - 1; i >= 0; i-- {
		e := l.ahead[i]
		if e.track == nil || slices.Contains(running, e.track) {
			continue
		}
		if l.dependent(s, e) {
			return e.track, nil
		}
		running = append(running, e.track)
	}
	for _, t := range l.tracks {
		if !slices.Contains(running, t) {
			return t, nil
		}
	}
	if len(l.tracks) < l.most {
		t, err := l.addTrack()
		if err == nil || !errors.Is(err, ssl.ErrOutOfMemory) {
			return t, err
		}
		slog.Debug("fewer steps run at the same time", "tracks", len(l.tracks), "why", err)
		l.most = len(l.tracks)
	}
	return running[len(running)-1], nil
}

// addTrack adds a track that needs no more memory than it has then.
func (l *learner) addTrack() (*track, error) {
	first := l.tracks[0]
	d, err := newDevice(l.d.gpu)
	if err != nil {
		return nil, err
	}
	d.needed = first.d.needed // its algorithms are known
	d.workspace = d.bytes(d.needed)
	t, err := newTrack(l, d, first.net.flat)
	if errors.Is(err, ssl.ErrOutOfMemory) {
		l.d.err = nil // only the track is lost
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	l.tracks = append(l.tracks, t)
	return t, nil
}

// finish waits for a step before which all have ended.
func (l *learner) finish(e *entry) error {
	d := l.d
	if d.try(d.cuEventSynchronize(e.done), "cuEventSynchronize"); d.err != nil {
		return d.err
	}
	e.track, e.measure = nil, l.measured(e)
	var ms, since float32
	d.try(d.cuEventElapsedTime(&ms, e.begun, e.done), "cuEventElapsedTime")
	if e.previous.Number > 0 { // what was computed while that one ran is its time
		d.try(d.cuEventElapsedTime(&since, e.previous.done, e.done), "cuEventElapsedTime")
		ms = min(ms, since)
	}
	e.measure.Busy, e.measure.Memory = time.Duration(float64(ms)*float64(time.Millisecond)), heldByAll.Load()
	return d.err
}

// measured returns the metrics of a step that has ended.
func (l *learner) measured(e *entry) (m ssl.Measure) {
	for _, v := range e.measures[termMeasures:] {
		m.SSL += float64(v)
	}
	m.Loss, m.Std = m.SSL, float64(e.measures[stdMeasure])
	if l.teachers != nil {
		m.Distill = float64(e.measures[distillMeasure])
		m.Loss += l.cfg.Distill * m.Distill
	}
	return m
}

// finishAll waits for all steps.
func (l *learner) finishAll() error {
	for _, e := range l.ahead {
		if e.track != nil {
			if err := l.finish(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// Wait implements ssl.Learner.
func (l *learner) Wait() (m ssl.Measure, err error) {
	leave, err := l.d.enter()
	if err != nil {
		return m, err
	}
	defer leave()
	if len(l.ahead) == 0 {
		return m, errors.New("cuda: there is no step to wait for")
	}
	e := l.ahead[0]
	if e.track != nil {
		if err := l.finish(e); err != nil {
			return m, err
		}
	}
	l.ahead = slices.Delete(l.ahead, 0, 1)
	return e.measure, nil
}

// Sync implements ssl.Learner.
func (l *learner) Sync() error {
	leave, err := l.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	if err := l.finishAll(); err != nil {
		return err
	}
	if l.teachers != nil && l.cfg.Teacher != nil {
		if err := l.teachers.sync(); err != nil {
			return err
		}
	}
	return l.nets.sync()
}

// Close implements ssl.Learner.
func (l *learner) Close() error {
	if l.d.closed {
		return nil
	}
	leave, err := l.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	err = l.closeOthers()
	l.tracks[0].close()
	for _, e := range l.entries {
		for _, e := range []event{e.begun, e.done} {
			if e != 0 {
				l.d.try(l.d.cuEventDestroy(e), "cuEventDestroy")
			}
		}
	}
	if l.pinned != nil {
		l.d.try(l.d.cuMemFreeHost(l.pinned), "cuMemFreeHost")
	}
	return errors.Join(err, l.d.close())
}

// closeOthers closes all tracks but the first. They are made again when they are needed.
func (l *learner) closeOthers() (err error) {
	for _, t := range l.tracks[1:] {
		t.close()
		err = errors.Join(err, t.d.close())
	}
	l.tracks = l.tracks[:1]
	return err
}
