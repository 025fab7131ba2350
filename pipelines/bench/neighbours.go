package bench

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// rests are the pauses before measurements. Neither side runs then, so any load comes from other programs.
type rests struct{ busy, all float64 } // processor time, in ticks

const (
	settle = 10 * time.Millisecond // lets the threads of the previous side go to sleep
	rest   = 40 * time.Millisecond
)

// take pauses and measures the processor load.
func (r *rests) take() {
	time.Sleep(settle)
	busy, all := processorTime()
	time.Sleep(rest)
	busyThen, allThen := processorTime()
	r.busy += busyThen - busy
	r.all += allThen - all
}

// neighbours returns the share of processor time that other programs took; 0 if unknown.
func (r *rests) neighbours() float64 {
	if r.all == 0 {
		return 0
	}
	return r.busy / r.all
}

// processorTime returns the busy and the total time of the machine's processors since boot, in ticks.
func processorTime() (busy, all float64) {
	text, _ := os.ReadFile("/proc/stat") // exists only on Linux
	return parseStat(string(text))
}

// parseStat reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq and steal time.
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

// ownTime returns the processor time of this process in seconds; 0 if unknown.
func ownTime() float64 {
	text, _ := os.ReadFile("/proc/self/stat") // exists only on Linux
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var user, system float64
	_, _ = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	return (user + system) / ticks
}

// ticks is the number of ticks in a second of what Linux tells programs.
const ticks = 100
