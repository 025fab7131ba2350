package sdrnet

import (
	"slices"
	"testing"
)

func TestCode(t *testing.T) {
	for _, c := range []struct {
		code, parent string
		choices      []int
	}{
		{"", "", nil},
		{"0", "", []int{0}},
		{"250", "", []int{250}},
		{"12.3.250", "12.3", []int{12, 3, 250}},
	} {
		if got := Parent(c.code); got != c.parent {
			t.Errorf("Parent(%q) = %q, want %q", c.code, got, c.parent)
		}
		if got := Choices(c.code); !slices.Equal(got, c.choices) {
			t.Errorf("Choices(%q) = %v, want %v", c.code, got, c.choices)
		}
		if got := Level(c.code); got != len(c.choices) {
			t.Errorf("Level(%q) = %d, want %d", c.code, got, len(c.choices))
		}
		if got := Prefix(c.code, len(c.choices)); got != c.code {
			t.Errorf("Prefix(%q, %d) = %q, want the code", c.code, len(c.choices), got)
		}
		if n := len(c.choices); n > 0 {
			if got := Prefix(c.code, n-1); got != c.parent {
				t.Errorf("Prefix(%q, %d) = %q, want %q", c.code, n-1, got, c.parent)
			}
		}
		func() {
			defer func() { _ = recover() }()
			t.Errorf("Prefix(%q, %d) = %q, want a panic", c.code, len(c.choices)+1, Prefix(c.code, len(c.choices)+1))
		}()
	}
}

// FuzzCode: any text in place of a code has consistent parts, and codes are in one order.
func FuzzCode(f *testing.F) {
	for _, code := range []string{"", "0", "12.3.250", "x", "1..2", ".", "-1.99999999999999999999"} {
		f.Add(code, "1.2")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		level := Level(a)
		if got := len(Choices(a)); got != level {
			t.Fatalf("%q has level %d and %d choices", a, level, got)
		}
		if level > 0 && Prefix(a, level-1) != Parent(a) {
			t.Fatalf("%q: Prefix is %q, Parent %q", a, Prefix(a, level-1), Parent(a))
		}
		if got := Compare(a, b); got != -Compare(b, a) || (got == 0) != (a == b) {
			t.Fatalf("Compare(%q, %q) is %d, the other way round %d", a, b, got, Compare(b, a))
		}
	})
}
