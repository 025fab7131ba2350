package bench

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// rests are the pauses before measurements, in which neither side runs: whoever is busy then is another program.
type rests struct{ busy, all float64 } // processor time, in ticks

const (
	settle = 10 * time.Millisecond // lets the threads of the side that has run go to sleep
	rest   = 40 * time.Millisecond
)

// take waits for a while and watches the processors.
func (r *rests) take() {
	time.Sleep(settle)
	busy, all := processorTime()
	time.Sleep(rest)
	busyThen, allThen := processorTime()
	r.busy += busyThen - busy
	r.all += allThen - all
}

// neighbours is the share of the processors' time that others took; 0 if the system does not tell.
func (r *rests) neighbours() float64 {
	if r.all == 0 {
		return 0
	}
	return r.busy / r.all
}

// processorTime is how long the machine's processors have been busy and how long they have been there, in ticks.
func processorTime() (busy, all float64) {
	text, _ := os.ReadFile("/proc/stat") // elsewhere there is nothing to know
	return parseStat(string(text))
}

// parseStat reads the first line of /proc/stat: user, nice, system, idle, waiting for input, interrupts (two), and what
// a hypervisor gave to others.
func parseStat(text string) (busy, all float64) {
	line, _, _ := strings.Cut(text, "\n")
	var t [8]float64
	n, _ := fmt.Sscanf(line, "cpu %f %f %f %f %f %f %f %f", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7])
	if n < len(t) {
		return 0, 0
	}
	for _, v := range t {
		all += v
	}
	return all - t[3] - t[4], all
}
