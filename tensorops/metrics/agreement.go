package metrics

import "math"

// AdjustedMutualInfo returns the agreement of two ways to divide the same images into groups, corrected for chance: 1 if
// they are the same, about 0 if they are independent (Vinh, Epps and Bailey 2010, with the arithmetic mean of the
// entropies, as in scikit-learn). counts[i][j] is the number of images in group i of the first and group j of the
// second; all rows have the same length. It is 1 if neither divides the images.
func AdjustedMutualInfo(counts [][]int64) float64 {
	a, b, n := margins(counts)
	if len(a) <= 1 && len(b) <= 1 {
		return 1
	}
	mutual, columns := 0.0, make([]int64, len(counts[0]))
	for j := range columns {
		columns[j] = column(counts, j)
	}
	for _, row := range counts {
		of := int64(0)
		for _, c := range row {
			of += c
		}
		for j, c := range row {
			if c > 0 {
				mutual += share(c, n) * math.Log(float64(n)*float64(c)/(float64(of)*float64(columns[j])))
			}
		}
	}
	expected := expectedMutualInfo(a, b, n)
	most := (entropy(a, n) + entropy(b, n)) / 2
	return (mutual - expected) / math.Copysign(max(math.Abs(most-expected), 1e-15), most-expected)
}

func share(count, of int64) float64 { return float64(count) / float64(of) }

func column(counts [][]int64, j int) (sum int64) {
	for _, row := range counts {
		sum += row[j]
	}
	return sum
}

// margins returns the sizes of the groups that have images, and the number of images.
func margins(counts [][]int64) (a, b []int64, n int64) {
	for _, row := range counts {
		sum := int64(0)
		for _, c := range row {
			sum += c
		}
		if n += sum; sum > 0 {
			a = append(a, sum)
		}
	}
	if len(counts) == 0 {
		return a, b, n
	}
	for j := range counts[0] {
		if sum := column(counts, j); sum > 0 {
			b = append(b, sum)
		}
	}
	return a, b, n
}

func entropy(sizes []int64, n int64) (h float64) {
	for _, s := range sizes {
		h -= share(s, n) * math.Log(share(s, n))
	}
	return h
}

// expectedMutualInfo returns the mutual information to expect if the images are dealt out to groups of these sizes at
// random: the counts are then hypergeometric.
func expectedMutualInfo(a, b []int64, n int64) (sum float64) {
	logs := make([]float64, n+1) // of factorials
	for i := int64(2); i <= n; i++ {
		logs[i] = logs[i-1] + math.Log(float64(i))
	}
	for _, x := range a {
		for _, y := range b {
			fixed := logs[x] + logs[y] + logs[n-x] + logs[n-y] - logs[n]
			for c := max(1, x+y-n); c <= min(x, y); c++ {
				chance := math.Exp(fixed - logs[c] - logs[x-c] - logs[y-c] - logs[n-x-y+c])
				sum += share(c, n) * math.Log(float64(n)*float64(c)/(float64(x)*float64(y))) * chance
			}
		}
	}
	return sum
}
