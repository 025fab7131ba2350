package forecast

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// units are what a count may end in.
var units = []struct {
	suffix string
	times  float64
}{{"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"B", 1e9}, {"G", 1e9}}

// ParseCount reads a number of images such as 8154, 1.28M or 1B.
func ParseCount(text string) (int64, error) {
	digits, times := text, 1.
	for _, u := range units {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			digits, times = rest, u.times
		}
	}
	n, err := strconv.ParseFloat(digits, 64)
	if n = math.Round(n * times); err != nil || !(n >= 1 && n <= 1e12) {
		return 0, fmt.Errorf("%q is not a number of images; want one such as 8154, 1.28M, 100M or 1B", text)
	}
	return int64(n), nil
}
