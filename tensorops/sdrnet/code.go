package sdrnet

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Level returns the number of choices that a code lists; 0 for the root's, which is empty.
func Level(code string) int {
	if code == "" {
		return 0
	}
	return 1 + strings.Count(code, ".")
}

// Prefix returns the code of the node of a level that a code lies below, or is. It panics if the code has fewer choices.
func Prefix(code string, level int) string {
	if level == 0 {
		return ""
	}
	for at, c := range code {
		if c == '.' {
			if level--; level == 0 {
				return code[:at]
			}
		}
	}
	if level != 1 || code == "" {
		panic("sdrnet: code " + strconv.Quote(code) + " has too few choices for a prefix")
	}
	return code
}

// Parent returns the code of a node's parent; the root's parent is the root.
func Parent(code string) string { return code[:max(strings.LastIndexByte(code, '.'), 0)] }

// Choices returns the choices that a code lists, -1 for what is not a number.
func Choices(code string) []int {
	if code == "" {
		return nil
	}
	parts := strings.Split(code, ".")
	choices := make([]int, len(parts))
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil {
			n = -1
		}
		choices[i] = n
	}
	return choices
}

// Compare orders codes by their choices, as numbers; what is not a code comes first, by name.
func Compare(a, b string) int {
	return cmp.Or(slices.Compare(Choices(a), Choices(b)), strings.Compare(a, b))
}
