// Package rng gives every random decision its own random stream, keyed by what the decision is about and never by when
// it is made. Two workers that draw for the same image therefore agree, and a resumed run draws the same numbers as an
// uninterrupted one.
package rng

import (
	"hash/fnv"
	"math/rand/v2"
)

// Purposes separate streams that are keyed by the same indices.
const (
	Weights  uint64 = iota + 1 // initial weights
	Order                      // order of the training images
	Subset                     // which subset a step trains on
	View                       // augmentation of one view of one image
	Centroid                   // initial k-means centroids
	Sample                     // any other random sample of rows
	Queue                      // initial keys of a queue
	Mix                        // how strongly a batch is mixed
)

// New returns the stream for a seed and a key: a purpose, then indices. The same arguments yield the same numbers on
// every machine.
func New(seed uint64, key ...uint64) *rand.Rand {
	g := NewGenerator()
	g.Seek(seed, key...)
	return g.Rand
}

// Name turns a name into a key: its 64-bit FNV-1a hash.
func Name(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

// Generator draws from one stream after another without allocating a generator for each. It is not safe for concurrent
// use.
type Generator struct {
	*rand.Rand
	source *rand.PCG
	at     state // of the last Seek
}

// NewGenerator returns a generator. Call Seek before drawing.
func NewGenerator() *Generator {
	source := rand.NewPCG(0, 0)
	return &Generator{Rand: rand.New(source), source: source}
}

// Seek moves to the beginning of the stream that [New] returns for the same arguments. It does not allocate.
func (g *Generator) Seek(seed uint64, key ...uint64) {
	g.at = state{mix(seed), mix(seed + 0x6a09e667f3bcc909)}.with(key)
	g.source.Seed(g.at.a, g.at.b)
}

// Below moves to the beginning of the stream whose key is that of the last Seek followed by key. It is a cheap way to
// reach many streams with a common prefix.
func (g *Generator) Below(key ...uint64) {
	to := g.at.with(key)
	g.source.Seed(to.a, to.b)
}

// state is a hash of a seed and a key.
type state struct{ a, b uint64 }

func (s state) with(key []uint64) state {
	for _, k := range key {
		s.a = mix(s.a ^ mix(k))
		s.b = mix(s.b + mix(k+0x3c6ef372fe94f82b))
	}
	return s
}

// mix is the output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
