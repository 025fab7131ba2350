// Package fault carries what an error is across a runner, which passes on its
// text alone: a code in the text stands for an error that errors.Is finds.
//
//	var ErrTooManyBad = fault.New("too-many-bad-images")
//	...
//	return fmt.Errorf("ingest: %d images cannot be read [%w]", n, ErrTooManyBad) // in a DoFn
//	...
//	_, err := beam.Run(ctx, runner, p)
//	errors.Is(fault.Parse(err), ErrTooManyBad)
package fault

import "strings"

// code is an error that is known by its text.
type code string

func (c code) Error() string { return string(c) }

var codes []code

// New returns an error whose text is a code: words in small letters with
// hyphens that no other text has between brackets. It is for variables of
// packages.
func New(text string) error {
	codes = append(codes, code(text))
	return code(text)
}

// parsed is an error as it came out of a runner.
type parsed struct {
	text  string
	codes []error
}

func (e *parsed) Error() string { return e.text }

func (e *parsed) Unwrap() []error { return e.codes }

// Parse makes an error of what a runner returned. It finds the errors whose
// codes stand in brackets in the text, and leaves out the plan that Beam puts
// before the words of a DoFn.
func Parse(err error) error {
	e := &parsed{text: err.Error()}
	for _, c := range codes {
		if strings.Contains(e.text, "["+string(c)+"]") {
			e.codes = append(e.codes, c)
		}
	}
	const mark = "] failed:"
	if at := strings.LastIndex(e.text, mark); at >= 0 && strings.Contains(e.text[:at], "DoFn[") {
		e.text = strings.TrimSpace(e.text[at+len(mark):])
	}
	return e
}
