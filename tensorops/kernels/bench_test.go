package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// report reports the rate of a benchmark with the given number of multiply-adds per iteration.
func report(b *testing.B, multiplyAdds int) {
	b.ReportMetric(2*float64(multiplyAdds)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOPS")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkGemm(b *testing.B) {
	for _, threads := range []int{1, 2} {
		p := newPool(b, threads)
		for _, s := range [][3]int{{256, 256, 256}, {512, 512, 512}, {1024, 1024, 1024}, {128, 64, 64}, {128, 512, 2048}, {128, 2048, 2048}, {4608, 512, 2048}, {2048, 2048, 128}, {1000, 256, 512}} {
			m, n, k := s[0], s[1], s[2]
			for _, trans := range []string{"NN", "NT", "TN"} {
				b.Run(fmt.Sprintf("%s/%dx%dx%d/threads=%d", trans, m, n, k, threads), func(b *testing.B) {
					r := rand.New(rand.NewPCG(1, 1))
					x, y, z := randomFloats(r, m*k), randomFloats(r, k*n), randomFloats(r, m*n)
					lda, ldb := k, n
					if trans[0] == 'T' {
						lda = m
					}
					if trans[1] == 'T' {
						ldb = k
					}
					for b.Loop() {
						p.Gemm(trans[0] == 'T', trans[1] == 'T', m, n, k, x, lda, y, ldb, z, n, false)
					}
					report(b, m*n*k)
				})
			}
		}
	}
}

// resNet18 lists the distinct convolutions of a ResNet-18 with the small stem.
func resNet18(batch, size, width int) map[string]Conv {
	layers := map[string]Conv{"0stem": {N: batch, H: size, W: size, Cin: 3, Cout: width, KH: 3, KW: 3, Stride: 1, Pad: 1}}
	for stage := range 4 {
		if stage > 0 {
			next := (size + 1) / 2
			layers[fmt.Sprintf("%ddown", stage+1)] = Conv{N: batch, H: size, W: size, Cin: width, Cout: 2 * width, KH: 3, KW: 3, Stride: 2, Pad: 1}
			layers[fmt.Sprintf("%dskip", stage+1)] = Conv{N: batch, H: size, W: size, Cin: width, Cout: 2 * width, KH: 1, KW: 1, Stride: 2}
			size, width = next, 2*width
		}
		layers[fmt.Sprintf("%dsame", stage+1)] = Conv{N: batch, H: size, W: size, Cin: width, Cout: width, KH: 3, KW: 3, Stride: 1, Pad: 1}
	}
	return layers
}

func BenchmarkConv(b *testing.B) {
	for _, net := range []struct{ width, size, batch int }{{8, 20, 128}, {8, 32, 128}, {16, 20, 128}, {16, 32, 128}, {64, 32, 64}} {
		layers := resNet18(net.batch, net.size, net.width)
		for _, name := range []string{"0stem", "1same", "2down", "2skip", "2same", "3down", "3skip", "3same", "4down", "4skip", "4same"} {
			c := layers[name]
			for _, threads := range []int{1, 2} {
				b.Run(fmt.Sprintf("width=%d/size=%d/%s/threads=%d", net.width, net.size, name, threads), func(b *testing.B) {
					benchmarkConv(b, c, threads)
				})
			}
		}
	}
}

// BenchmarkDepthwise measures depthwise convolutions of MobileNetV2 with the small stem, for images of 32 px.
func BenchmarkDepthwise(b *testing.B) {
	for _, l := range []struct{ size, channels, stride int }{{32, 32, 1}, {32, 96, 2}, {16, 144, 1}, {8, 192, 1}, {4, 576, 1}, {2, 960, 1}} {
		c := Conv{N: 128, H: l.size, W: l.size, Cin: l.channels, Cout: l.channels, KH: 3, KW: 3, Stride: l.stride, Pad: 1, Depthwise: true}
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%dx%dx%d/stride=%d/threads=%d", l.size, l.size, l.channels, l.stride, threads), func(b *testing.B) {
				benchmarkConv(b, c, threads)
			})
		}
	}
}

func benchmarkConv(b *testing.B, c Conv, threads int) {
	r := rand.New(rand.NewPCG(1, 1))
	nx, nw, ny := sizes(c)
	x, w, y := randomFloats(r, nx), randomFloats(r, nw), randomFloats(r, ny)
	plan := NewConvPlan(c, FP32, newPool(b, threads))
	multiplyAdds := int(c.Multiplications())
	b.Run("Forward", func(b *testing.B) {
		for b.Loop() {
			plan.Forward(x, w, y)
		}
		report(b, multiplyAdds)
	})
	b.Run("BackwardData", func(b *testing.B) {
		for b.Loop() {
			plan.BackwardData(y, w, x)
		}
		report(b, multiplyAdds)
	})
	b.Run("BackwardWeights", func(b *testing.B) {
		for b.Loop() {
			plan.BackwardWeights(x, y, w)
		}
		report(b, multiplyAdds)
	})
}
